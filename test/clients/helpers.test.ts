import { zodResponseFormat } from 'openai/helpers/zod'
import { zodResponseFormat as zodResponseFormat6 } from 'openai-6/helpers/zod'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { RESULTS, afterTools, oneTool, parallelTools, schema } from './scenarios.ts'
import { KINDS, MAJORS, MODELS, setStage } from './stage.ts'
import type { Kind } from './wires.ts'

const stage = setStage()

const city = z.object({
  name: z.string(),
  inhabitants: z.int().describe('at the last census'),
  rivers: z.array(z.string()).nullable(),
})
const CITY_FORMATS = {
  'openai 7': () => zodResponseFormat(city, 'city'),
  'openai 6': () => zodResponseFormat6(city, 'city') as ReturnType<typeof zodResponseFormat>,
}

/** The conveniences of the SDK, which send and expect things of their own. */
describe.each(MAJORS)('%s', (major) => {
  const nameOf = (kind: Kind): string => `${kind}/${MODELS[kind]}`

  it.each(KINDS)('parses what %s answers by a zod schema', async (kind) => {
    stage.providers[kind].plays({ says: schema.says })
    const answer = await stage.clients[major].chat.completions.parse({
      model: nameOf(kind),
      messages: schema.asked.messages,
      response_format: CITY_FORMATS[major](),
    })
    expect(answer.choices[0]?.message.parsed).toEqual(JSON.parse(schema.says.text!))
  })

  it.each(KINDS)('runs the tools that %s calls', async (kind) => {
    stage.providers[kind].plays({ says: parallelTools.says }, { says: afterTools.says })
    const asked: unknown[] = []
    const runner = stage.clients[major].chat.completions.runTools({
      model: nameOf(kind),
      messages: parallelTools.asked.messages,
      reasoning_effort: 'high',
      tools: [weatherTool(asked)],
    })
    expect(await runner.finalContent()).toBe(afterTools.says.text)
    expect(asked).toEqual([{ city: 'Oslo' }, { city: 'Rome' }])
    expect(stage.providers[kind].received).toHaveLength(2)
  })

  it.each(KINDS)('runs the tools that %s calls in a stream', async (kind) => {
    stage.providers[kind].plays({ says: parallelTools.says }, { says: afterTools.says })
    const asked: unknown[] = []
    const runner = stage.clients[major].chat.completions.runTools({
      model: nameOf(kind),
      messages: parallelTools.asked.messages,
      reasoning_effort: 'high',
      stream: true,
      tools: [weatherTool(asked)],
    })
    let heard = ''
    runner.on('content', (piece) => {
      heard += piece
    })
    expect(await runner.finalContent()).toBe(afterTools.says.text)
    expect(heard).toBe(afterTools.says.text)
    expect(asked).toEqual([{ city: 'Oslo' }, { city: 'Rome' }])
  })

  it.each(KINDS)('goes on with %s from calls that another gateway saw', async (kind) => {
    stage.providers[kind].plays({ says: afterTools.says })
    const answer = await stage.clients[major].chat.completions.create({
      ...parallelTools.asked,
      model: nameOf(kind),
      messages: [
        ...parallelTools.asked.messages,
        {
          role: 'assistant',
          tool_calls: [
            {
              id: 'call_of_someone_else',
              type: 'function',
              function: { name: 'get_weather', arguments: '{"city":"Oslo"}' },
            },
          ],
        },
        { role: 'tool', tool_call_id: 'call_of_someone_else', content: RESULTS[0]! },
      ],
    })
    expect(answer.choices[0]?.message.content).toBe(afterTools.says.text)
    // Anthropic cannot think on where it did not, Gemini signs its calls, Mistral has its own ids.
    const exact = kind === 'openai' || kind === 'llamacpp'
    expect(stage.headers['x-tollgate-translation']).toBe(exact ? 'exact' : 'adapted')
  })

  it.each(['anthropic', 'google', 'mistral'] as const)(
    'gives %s its thoughts back, of which the helper for streams keeps the last piece',
    async (kind) => {
      const ask = {
        model: nameOf(kind),
        tools: [weatherTool([])],
        reasoning_effort: 'high' as const,
      }
      const { messages } = parallelTools.asked
      stage.providers[kind].plays({ says: parallelTools.says }, { says: afterTools.says })
      const { message } = (
        await stage.clients[major].chat.completions
          .stream({ ...ask, messages })
          .finalChatCompletion()
      ).choices[0]!
      const results = message.tool_calls!.map(
        ({ id }, index) => ({ role: 'tool', tool_call_id: id, content: RESULTS[index]! }) as const,
      )
      await stage.clients[major].chat.completions.create({
        ...ask,
        messages: [...messages, message, ...results],
      })
      const { thinking } = parallelTools.says
      const last = (message as { reasoning_content?: string }).reasoning_content
      expect(thinking!.endsWith(last!)).toBe(true)
      expect(last).not.toBe(thinking)
      expect(JSON.stringify(stage.providers[kind].received[1]!.body)).toContain(
        JSON.stringify(thinking).slice(1, -1),
      )
    },
  )

  it.each(['anthropic', 'google', 'mistral'] as const)(
    'asks %s in the older way, with functions',
    async (kind) => {
      stage.providers[kind].plays({ says: oneTool.says })
      const answer = await stage.clients[major].chat.completions.create({
        model: nameOf(kind),
        messages: oneTool.asked.messages,
        functions: [{ name: 'get_weather', parameters: {} }],
      })
      expect(answer.choices[0]).toMatchObject({
        finish_reason: 'function_call',
        message: { function_call: { name: 'get_weather', arguments: '{"city":"Kraków"}' } },
      })
    },
  )

  it('is refused where something would be lost that it insists on', async () => {
    const asked = stage.clients[major].chat.completions.create(
      { model: nameOf('anthropic'), messages: schema.asked.messages, seed: 7 },
      { headers: { 'x-tollgate-translation': 'strict' } },
    )
    await expect(asked).rejects.toMatchObject({
      status: 400,
      code: 'unsupported_feature',
      param: 'seed',
    })
    expect(stage.providers.anthropic.received).toEqual([])
  })
})

function weatherTool(asked: unknown[]) {
  return {
    type: 'function',
    function: {
      name: 'get_weather',
      description: 'Current weather of a city',
      parameters: { type: 'object', properties: { city: { type: 'string' } } },
      parse: (text: string): unknown => JSON.parse(text),
      function: (input: unknown): string => RESULTS[asked.push(input) - 1]!,
    },
  } as const
}
