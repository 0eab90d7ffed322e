import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ChatRequest, Message, Target } from '#protocol'
import { inputTokens, outputTokens } from '#protocol'
import { simulator, simulatorPrices } from '../../providers/simulator/index.ts'
import { type Simulator, startSimulator } from '../../providers/simulator/server.ts'

type Asked = OpenAI.ChatCompletionCreateParamsNonStreaming

const HELLO: Asked = { model: 'chat', messages: [{ role: 'user', content: 'Where is Oslo?' }] }
const PARAMETERS = {
  type: 'object',
  properties: { city: { type: 'string' }, unit: { enum: ['celsius', 'fahrenheit'] } },
  required: ['city', 'unit'],
  additionalProperties: false,
}
const WEATHER: OpenAI.ChatCompletionFunctionTool = {
  type: 'function',
  function: {
    name: 'get_weather',
    parameters: PARAMETERS,
  },
}
const CLOCK: OpenAI.ChatCompletionFunctionTool = {
  type: 'function',
  function: { name: 'current_time', parameters: { type: 'object', properties: {} } },
}
const TOKEN = 'loopback-secret'

let server: Simulator
let client: OpenAI

beforeAll(async () => {
  server = await startSimulator({ token: TOKEN })
  client = new OpenAI({ baseURL: server.baseUrl, apiKey: TOKEN, maxRetries: 0 })
})
afterAll(() => server.close())

describe('the simulator', () => {
  it('answers about the prompt, the same each time, otherwise with another seed', async () => {
    const [first, again, other] = await Promise.all([ask(), ask(), ask({ seed: 7 })])
    expect(first.choices[0]?.message.content).toContain('"Where is Oslo?"')
    expect(again).toEqual(first)
    expect(other.choices[0]?.message.content).not.toBe(first.choices[0]?.message.content)
    expect(first.choices[0]?.finish_reason).toBe('stop')
  })

  it('counts tokens that add up', async () => {
    const { usage } = await ask({ model: 'echo' })
    expect(usage).toMatchObject({ prompt_tokens: 11, completion_tokens: 4, total_tokens: 15 })
  })

  it('echoes the last thing the user said', async () => {
    const messages: Asked['messages'] = [
      { role: 'user', content: 'One' },
      { role: 'assistant', content: 'Two' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Thr' },
          { type: 'text', text: 'ee 🎈' },
        ],
      },
    ]
    expect(await text({ model: 'echo', messages })).toBe('Three 🎈')
  })

  it.each([{ max_tokens: 5 }, { max_completion_tokens: 5 }])('stops at %j', async (limit) => {
    const { choices, usage } = await ask(limit)
    expect(choices[0]?.finish_reason).toBe('length')
    expect(usage?.completion_tokens).toBe(5)
  })

  it('stops before a stop text', async () => {
    const messages: Asked['messages'] = [{ role: 'user', content: 'a b STOP c' }]
    const { choices } = await ask({ model: 'echo', messages, stop: ['c', ' STOP'] })
    expect(choices[0]).toMatchObject({ message: { content: 'a b' }, finish_reason: 'stop' })
  })

  it('gives as many answers as asked, each its own', async () => {
    const { choices } = await ask({ n: 3 })
    expect(choices.map(({ index }) => index)).toEqual([0, 1, 2])
    expect(new Set(choices.map(({ message }) => message.content)).size).toBeGreaterThan(1)
  })

  it.each<[string, Partial<Asked>]>([
    ['text', { n: 2 }],
    ['reasoning', { model: 'thinker' }],
    ['a call', { tools: [WEATHER, CLOCK], tool_choice: 'required' }],
    ['a cut answer', { max_tokens: 3 }],
  ])('streams the same as it answers whole: %s', async (_, asked) => {
    const whole = await ask(asked)
    const stream = client.chat.completions.stream({
      ...HELLO,
      ...asked,
      stream: true,
      stream_options: { include_usage: true },
    })
    const streamed = await stream.finalChatCompletion()
    expect(streamed.choices.map(plain)).toEqual(whole.choices.map(plain))
    expect(streamed.usage).toEqual(whole.usage)
  })

  it('streams usage only where asked, in a chunk of its own before the end marker', async () => {
    const frames = await sse({ ...HELLO, stream: true, stream_options: { include_usage: true } })
    expect(frames.at(-1)).toBe('[DONE]')
    expect(JSON.parse(frames.at(-2) ?? '')).toMatchObject({
      choices: [],
      usage: { total_tokens: expect.any(Number) },
    })
    expect(JSON.parse(frames[0] ?? '')).toMatchObject({
      choices: [{ delta: { role: 'assistant', content: '' } }],
      usage: null,
    })
    expect((await sse({ ...HELLO, stream: true })).join('')).not.toContain('"usage"')
  })

  it('thinks where asked, within the tokens of the answer', async () => {
    const { choices, usage } = await ask({ reasoning_effort: 'low' })
    expect(choices[0]?.message).toHaveProperty('reasoning_content')
    const thought = usage?.completion_tokens_details?.reasoning_tokens ?? 0
    expect(thought).toBeGreaterThan(5)
    expect(thought).toBeLessThan(usage?.completion_tokens ?? 0)
    const quiet = await ask({ model: 'thinker', reasoning_effort: 'none' })
    expect(quiet.choices[0]?.message).not.toHaveProperty('reasoning_content')
  })

  it.each([
    ['What is the weather in Bergen?', ['get_weather']],
    ['Use get_weather and current_time.', ['get_weather', 'current_time']],
    ['The current time, and the weather in Bergen', ['get_weather', 'current_time']],
    ['Where is Bergen?', []],
  ])('calls the tools that are mentioned: %s', async (content, names) => {
    const { choices } = await ask({
      messages: [{ role: 'user', content }],
      tools: [WEATHER, CLOCK],
    })
    expect(callsOf(choices[0]).map(({ name }) => name)).toEqual(names)
    expect(choices[0]?.finish_reason).toBe(names.length > 0 ? 'tool_calls' : 'stop')
  })

  it('fills in arguments that fit the schema and the prompt', async () => {
    const { choices } = await ask({
      messages: [{ role: 'user', content: 'What is the weather in Bergen?' }],
      tools: [WEATHER],
    })
    expect(choices[0]?.message.content).toBeNull()
    expect(JSON.parse(callsOf(choices[0])[0]?.arguments ?? '')).toEqual({
      city: 'Bergen',
      unit: expect.stringMatching(/^(celsius|fahrenheit)$/),
    })
  })

  it.each<[string, Partial<Asked>, string[]]>([
    ['no call', { tool_choice: 'none' }, []],
    ['some call', { tool_choice: 'required' }, ['get_weather']],
    [
      'a named call',
      { tool_choice: { type: 'function', function: { name: 'current_time' } } },
      ['current_time'],
    ],
    [
      'one call of the allowed',
      {
        tool_choice: {
          type: 'allowed_tools',
          allowed_tools: {
            mode: 'required',
            tools: [{ type: 'function', function: { name: 'current_time' } }],
          },
        },
      },
      ['current_time'],
    ],
  ])('makes %s when told so', async (_, asked, names) => {
    const { choices } = await ask({ tools: [WEATHER, CLOCK], ...asked })
    expect(callsOf(choices[0]).map(({ name }) => name)).toEqual(names)
  })

  it('makes one call at a time when told so', async () => {
    const { choices } = await ask({
      messages: [{ role: 'user', content: 'get_weather current_time' }],
      tools: [WEATHER, CLOCK],
      parallel_tool_calls: false,
    })
    expect(callsOf(choices[0])).toHaveLength(1)
  })

  it('calls a free-text tool with text', async () => {
    const { choices } = await ask({
      tools: [{ type: 'custom', custom: { name: 'shell' } }],
      tool_choice: 'required',
    })
    expect(choices[0]?.message.tool_calls).toMatchObject([
      { type: 'custom', custom: { name: 'shell', input: 'Where is Oslo?' } },
    ])
  })

  it('quotes what the tools answered', async () => {
    const question = { role: 'user', content: 'The weather in Bergen' } as const
    const { choices } = await ask({ messages: [question], tools: [WEATHER] })
    const call = choices[0]?.message
    if (call === undefined) throw new Error('no choice')
    const result = {
      role: 'tool',
      tool_call_id: call.tool_calls?.[0]?.id ?? '',
      content: 'rain, 4 degrees',
    } as const
    const final = await text({ messages: [question, call, result], tools: [WEATHER] })
    expect(final).toBe('The tool get_weather answered: rain, 4 degrees')
  })

  it('answers in the schema asked for', async () => {
    const schema = {
      type: 'object',
      properties: { city: { type: 'string' }, people: { type: 'integer', minimum: 1 } },
      required: ['city', 'people'],
      additionalProperties: false,
    }
    const json = await text({
      response_format: { type: 'json_schema', json_schema: { name: 'a', schema, strict: true } },
    })
    expect(JSON.parse(json)).toEqual({ city: 'Oslo', people: expect.any(Number) })
    const any = await text({ response_format: { type: 'json_object' } })
    expect(JSON.parse(any)).toMatchObject({ answer: expect.stringContaining('Oslo') })
  })

  it('gives log probabilities where asked', async () => {
    const { choices } = await ask({ model: 'echo', logprobs: true, top_logprobs: 2 })
    const entries = choices[0]?.logprobs?.content ?? []
    expect(entries.map(({ token }) => token).join('')).toBe('Where is Oslo?')
    expect(entries.every(({ top_logprobs: top }) => top.length === 2)).toBe(true)
  })

  it('embeds as vectors of length 1, near for texts that share words', async () => {
    const input = ['the cat sat down', 'the cat sat there', 'stock markets fell']
    const { data, usage } = await client.embeddings.create({ model: 'embed', input })
    const [a = [], b = [], c = []] = data.map(({ embedding }) => embedding)
    expect(dot(a, a)).toBeCloseTo(1, 5)
    expect(dot(a, b)).toBeGreaterThan(dot(a, c) + 0.3)
    expect(usage).toEqual({ prompt_tokens: 12, total_tokens: 12 })
  })

  it.each([1, 8, 4096])('embeds in %i dimensions, as floats or base64', async (dimensions) => {
    const asked = { model: 'embed', input: [[1, 2, 3]], dimensions }
    const [floats, base64] = await Promise.all([
      client.embeddings.create({ ...asked, encoding_format: 'float' }),
      client.embeddings.create(asked),
    ])
    expect(floats.data[0]?.embedding).toHaveLength(dimensions)
    expect([...(base64.data[0]?.embedding ?? [])]).toEqual(floats.data[0]?.embedding)
  })

  it('lists its models, and has no others', async () => {
    const { data } = await client.models.list()
    const names = data.map(({ id }) => id)
    expect(names).toEqual(
      expect.arrayContaining(['chat', 'echo', 'thinker', 'embed', 'fault/html']),
    )
    await expect(ask({ model: 'gpt-9' })).rejects.toMatchObject({
      status: 404,
      code: 'model_not_found',
    })
  })

  it.each<[string, object, object]>([
    ['no messages', { model: 'chat', messages: [] }, { status: 400, param: 'messages' }],
    ['no tokens', { ...HELLO, max_tokens: 0 }, { status: 400, param: 'max_tokens' }],
    ['too many answers', { ...HELLO, n: 1000 }, { status: 400, param: 'n' }],
    [
      'a call of nothing',
      { ...HELLO, tool_choice: 'required' },
      { status: 400, param: 'tool_choice' },
    ],
    [
      'too long a prompt',
      { ...HELLO, messages: [{ role: 'user', content: 'a '.repeat(140_000) }] },
      { status: 400, code: 'context_length_exceeded' },
    ],
  ])('refuses %s in the words of OpenAI', async (_, body, error) => {
    await expect(client.post('/chat/completions', { body })).rejects.toMatchObject(error)
  })

  it('answers nobody who has not its token', async () => {
    const stranger = client.withOptions({ apiKey: 'loopback-secreT' })
    await expect(stranger.models.list()).rejects.toMatchObject({ status: 401 })
    const response = await fetch(`${server.baseUrl}/models`)
    expect(response.status).toBe(401)
  })
})

describe('the provider of the simulator', () => {
  const said: Message = { role: 'user', content: [{ type: 'text', text: 'The weather in Bergen' }] }
  const request: ChatRequest = {
    model: 'simulator/chat',
    messages: [said],
    tools: [{ type: 'function', name: 'get_weather', parameters: PARAMETERS }],
    stream: false,
    includeUsage: true,
    providerOptions: {},
  }

  it('carries a call to the server and back, whole and streamed', async () => {
    const whole = simulator.chat!.decode(JSON.parse(await exchange(request)), request)
    expect(whole.choices[0]).toMatchObject({
      finishReason: 'tool-calls',
      content: [{ type: 'tool-call', name: 'get_weather' }],
    })
    const { usage } = whole
    expect(usage && inputTokens(usage) + outputTokens(usage)).toBe(usage?.reportedTotal)

    const streamed = { ...request, stream: true }
    const reader = simulator.chat!.reader(streamed)
    const frames = (await exchange(streamed)).split('\n\n').filter(Boolean)
    const events = [
      ...frames.flatMap((frame) => reader.read({ event: '', data: frame.slice('data: '.length) })),
      ...reader.end(),
    ]
    const args = events
      .map((event) => (event.type === 'tool-call-delta' ? event.text : ''))
      .join('')
    expect(whole.choices[0]?.content).toMatchObject([{ arguments: args }])
    expect(events).toContainEqual(expect.objectContaining({ type: 'usage', usage }))
  })

  it('has a price, so that reports show something', () => {
    expect(simulatorPrices['*']).toEqual({ input: '0.10', output: '0.40' })
  })
})

async function exchange(asked: ChatRequest): Promise<string> {
  const target: Target = {
    provider: 'simulator',
    model: 'chat',
    baseUrl: server.baseUrl,
    credential: TOKEN,
    headers: {},
  }
  const { request: sent, changes } = simulator.chat!.encode(asked, target)
  expect(changes).toEqual([])
  const response = await fetch(sent.url, {
    method: sent.method,
    headers: sent.headers,
    body: String(sent.body),
  })
  return response.text()
}

function ask(asked: Partial<Asked> = {}): Promise<OpenAI.ChatCompletion> {
  return client.chat.completions.create({ ...HELLO, ...asked })
}

async function text(asked: Partial<Asked>): Promise<string> {
  const { choices } = await ask(asked)
  return choices[0]?.message.content ?? ''
}

async function sse(body: object): Promise<string[]> {
  const response = await fetch(`${server.baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TOKEN}` },
    body: JSON.stringify(body),
  })
  const lines = (await response.text()).split('\n\n').filter(Boolean)
  return lines.map((line) => line.slice('data: '.length))
}

/** What of a choice the SDK's stream helper gives as well. */
function plain({ index, finish_reason, message }: OpenAI.ChatCompletion.Choice) {
  return {
    index,
    finish_reason,
    // The helper has an empty text where nothing was said before a call.
    content: message.content ?? '',
    calls: callsOf({ message }),
  }
}

function callsOf(choice: { message: OpenAI.ChatCompletionMessage } | undefined) {
  return (choice?.message.tool_calls ?? []).flatMap((call) =>
    call.type === 'function'
      ? [{ id: call.id, name: call.function.name, arguments: call.function.arguments }]
      : [],
  )
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, each, index) => sum + each * (b[index] ?? 0), 0)
}
