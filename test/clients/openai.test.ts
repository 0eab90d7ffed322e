import type OpenAI from 'openai'
import { describe, expect, it } from 'vitest'
import { callArguments, pieces } from '../stand-ins/said.ts'
import type { Said } from '../stand-ins/said.ts'
import { streamed } from './reading.ts'
import { RESULTS, SCENARIOS, afterTools, image, parallelTools } from './scenarios.ts'
import type { Scenario } from './scenarios.ts'
import { KINDS, MAJORS, MODELS, priceOf, setStage } from './stage.ts'
import type { Major } from './stage.ts'
import type { Asked, Kind, Sent } from './wires.ts'

const stage = setStage()

type Message = OpenAI.ChatCompletionMessage & { readonly reasoning_content?: string }
type Choice = OpenAI.ChatCompletion['choices'][number]

/** The three ways in which the SDK is used. */
const WAYS: Readonly<
  Record<string, (client: OpenAI, body: Body) => Promise<OpenAI.ChatCompletion>>
> = {
  whole: (client: OpenAI, body: Body) => client.chat.completions.create(body),
  'streamed through the helper': (client: OpenAI, body: Body) =>
    client.chat.completions
      .stream({ ...(body as object as StreamBody), stream_options: { include_usage: true } })
      .finalChatCompletion(),
  'streamed chunk by chunk': streamed,
}

type Body = Asked & { readonly model: string }
/** The same, but that the SDK's type for it does not know of absent members. */
type StreamBody = Parameters<OpenAI['chat']['completions']['stream']>[0]

describe.each(MAJORS)('%s', (major) => {
  describe.each(KINDS)('talks to %s', (kind) => {
    for (const [name, scenario] of Object.entries(SCENARIOS)) {
      it.each(Object.keys(WAYS))(`${name}, %s`, async (way) => {
        const { choice, usage } = await ask(major, kind, way, scenario)
        expectAnswer(choice, kind, way, scenario.says)
        expect(usage).toMatchObject(usageOf(kind, scenario.says))
        expectSent(kind, way, scenario.sent)
      })
    }

    it.each(Object.keys(WAYS))('parallel tools over two turns, %s', async (way) => {
      const { choice } = await ask(major, kind, way, parallelTools)
      const { content, tool_calls: calls } = choice.message
      // As applications write it that know OpenAI's fields only.
      const second = await answerTools(major, kind, way, {
        role: 'assistant',
        content: content || null,
        tool_calls: calls!.map(plainCall),
      })
      expectAnswer(second.choice, kind, way, afterTools.says)
      expect(second.usage).toMatchObject(usageOf(kind, afterTools.says))
      expectSent(kind, way, afterTools.sent)
    })

    it.each(Object.keys(WAYS))('its own message given back as it is, %s', async (way) => {
      const { choice } = await ask(major, kind, way, parallelTools)
      // The stand-in refuses thoughts and calls that are not as it signed them.
      const second = await answerTools(major, kind, way, choice.message)
      expectAnswer(second.choice, kind, way, afterTools.says)
    })

    it('tells what was asked, what answered and what it cost', async () => {
      const { text } = SCENARIOS
      stage.providers[kind].plays({ says: text!.says })
      const answer = await stage.clients[major].chat.completions.create({
        ...text!.asked,
        model: `${kind}/${MODELS[kind]}`,
      })

      const cost = priceOf(text!.says.usage)
      expect(stage.headers).toMatchObject({
        'x-tollgate-model': `${kind}/${MODELS[kind]}`,
        'x-tollgate-provider': kind,
        'x-tollgate-attempts': '1',
        'x-tollgate-route-reason': 'primary',
        'x-tollgate-translation': 'exact',
        'x-tollgate-cost-usd': cost,
      })
      expect(await stage.gateway.entries(answer._request_id!)).toMatchObject([
        {
          attempt: 1,
          provider: kind,
          model: MODELS[kind],
          outcome: 'ok',
          stream: false,
          usage: { input: 40, cacheRead: 20, output: 17, reasoning: 0 },
          usage_source: 'provider',
          cost_usd: cost,
        },
      ])
    })
  })

  describe.each(['openai', 'llamacpp'] as const)('reads the same without the gateway', (kind) => {
    it.each(Object.entries(SCENARIOS))(`of ${kind}, %s`, async (_, { asked, sent, says }) => {
      const provider = stage.providers[kind]
      const { character, baseUrl } = provider
      provider.plays({ says }, { says }, { says }, { says })
      const client = stage.clients[major]
      const direct = client.withOptions({ apiKey: character.credential, baseURL: baseUrl })

      const through = await wholeAndChunks(client, { ...asked, model: `${kind}/${MODELS[kind]}` })
      expect(through).toEqual(await wholeAndChunks(direct, sent[kind] as Body))
    })
  })

  it('lists the models that the key may call', async () => {
    const listed = await Array.fromAsync(stage.clients[major].models.list())
    const ids = listed.map(({ id }) => id)
    expect(ids).toEqual(
      expect.arrayContaining([
        'openai/gpt-5-mini',
        'anthropic/claude-sonnet-4-5',
        'simulator/chat',
      ]),
    )
    const model = await stage.clients[major].models.retrieve('anthropic/claude-sonnet-4-5')
    expect(model).toMatchObject({ id: 'anthropic/claude-sonnet-4-5', object: 'model' })
  })

  it.each(['openai', 'anthropic', 'mistral', 'llamacpp'] as const)(
    'hands the address of an image to %s',
    async (kind) => {
      const url = 'https://pictures.example/dot.png'
      await ask(major, kind, 'whole', {
        says: image.says,
        asked: {
          messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }],
        },
      })
      expect(JSON.stringify(stage.providers[kind].received[0]?.body)).toContain(`"${url}"`)
    },
  )
})

async function wholeAndChunks(client: OpenAI, body: Body): Promise<readonly object[]> {
  const whole = await client.chat.completions.create(body)
  const options = { stream: true, stream_options: { include_usage: true } } as const
  const chunks = await client.chat.completions.create({ ...body, ...options })
  return [whole, ...(await Array.fromAsync(chunks))]
}

async function ask(
  major: Major,
  kind: Kind,
  way: string,
  { asked, says, translation = {} }: Pick<Scenario, 'asked' | 'says' | 'translation'>,
): Promise<{ choice: Choice; usage: OpenAI.CompletionUsage | undefined }> {
  stage.providers[kind].plays({ says })
  const body = { ...asked, model: `${kind}/${MODELS[kind]}` }
  const { choices, usage, object, model } = await WAYS[way]!(stage.clients[major], body)
  expect(object).toBe('chat.completion')
  expect(model).toMatch(MODELS[kind])
  expect(choices).toHaveLength(1)
  expect(stage.headers).toMatchObject({
    'x-request-id': expect.stringMatching(/^req_/),
    'x-tollgate-translation': translation[kind] ?? 'exact',
  })
  return { choice: choices[0]!, usage }
}

function plainCall(
  call: OpenAI.ChatCompletionMessageToolCall,
): OpenAI.ChatCompletionMessageFunctionToolCall {
  if (call.type !== 'function') throw new Error('a call of no function')
  const { name, arguments: text } = call.function
  return { id: call.id, type: 'function', function: { name, arguments: text } }
}

/** The second turn: the tools' results after the model's message. */
function answerTools(
  major: Major,
  kind: Kind,
  way: string,
  message: OpenAI.ChatCompletionAssistantMessageParam,
): ReturnType<typeof ask> {
  stage.providers[kind].reset()
  const results = message.tool_calls!.map(
    ({ id }, index): OpenAI.ChatCompletionToolMessageParam => ({
      role: 'tool',
      tool_call_id: id,
      content: RESULTS[index]!,
    }),
  )
  const messages = [...parallelTools.asked.messages, message, ...results]
  return ask(major, kind, way, { ...afterTools, asked: { ...parallelTools.asked, messages } })
}

function expectAnswer(choice: Choice, kind: Kind, way: string, says: Said): void {
  const { message, finish_reason: finish } = choice
  const { role, content, refusal, tool_calls: calls = [], reasoning_content } = message as Message
  expect({ role, content: content || null, refusal: refusal ?? null }).toEqual({
    role: 'assistant',
    content: says.text ?? null,
    refusal: null,
  })
  const called = calls.map((call) => (call.type === 'function' ? call.function : call))
  expect(called).toMatchObject(
    (says.calls ?? []).map((call) => ({ name: call.name, arguments: callArguments(call) })),
  )
  expect(new Set(calls.map(({ id }) => id)).size).toBe(calls.length)
  expect(reasoning_content).toBe(thoughtHeard(kind, way, says))
  expect(finish).toBe(says.cutShort ? 'length' : says.calls ? 'tool_calls' : 'stop')
}

/** OpenAI shows none of its thinking, and the SDK's helper keeps the last piece of what it does not know. */
function thoughtHeard(kind: Kind, way: string, { thinking }: Said): string | undefined {
  if (kind === 'openai' || thinking === undefined) return undefined
  return way === 'streamed through the helper' ? pieces(thinking).at(-1) : thinking
}

function usageOf(kind: Kind, { usage }: Said): object {
  const counted = kind === 'openai' || kind === 'anthropic' || kind === 'google'
  return {
    prompt_tokens: usage.prompt,
    completion_tokens: usage.output,
    total_tokens: usage.prompt + usage.output,
    prompt_tokens_details: { cached_tokens: usage.cached },
    ...(counted && { completion_tokens_details: { reasoning_tokens: usage.reasoning } }),
  }
}

function expectSent(kind: Kind, way: string, sent: Sent): void {
  const { received } = stage.providers[kind]
  expect(received).toHaveLength(1)
  expect(received[0]?.body).toEqual(way === 'whole' ? sent[kind] : asStream(kind, sent[kind]))
}

/** The same request with its answer streamed; Gemini says that in the address. */
function asStream(kind: Kind, body: object): object {
  if (kind === 'google') return body
  const options = kind === 'openai' || kind === 'llamacpp'
  return { ...body, stream: true, ...(options && { stream_options: { include_usage: true } }) }
}
