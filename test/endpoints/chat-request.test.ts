import type { ChatCompletionCreateParams } from 'openai/resources/chat/completions'
import { describe, expect, it } from 'vitest'
import type { ChatRequest, JsonObject, TextPart } from '#protocol'
import { readChat } from '../../src/endpoints/chat-request.ts'

const HELLO = { role: 'user', content: 'Hi' } as const
const WEATHER = {
  type: 'function',
  function: { name: 'weather', description: 'The weather', parameters: { type: 'object' } },
} as const

/** Everything OpenAI's own client can say that we have a word for. */
const FULL: ChatCompletionCreateParams = {
  model: 'gpt-5-mini',
  messages: [
    { role: 'system', content: 'Be brief.' },
    { role: 'developer', content: [{ type: 'text', text: 'And kind.' }], name: 'boss' },
    HELLO,
  ],
  tools: [
    { ...WEATHER, function: { ...WEATHER.function, strict: true } },
    { type: 'custom', custom: { name: 'sql', format: { type: 'text' } } },
  ],
  tool_choice: 'required',
  parallel_tool_calls: false,
  response_format: {
    type: 'json_schema',
    json_schema: { name: 'out', description: 'd', schema: { type: 'object' }, strict: true },
  },
  max_completion_tokens: 100,
  temperature: 0.5,
  top_p: 0.9,
  frequency_penalty: 1,
  presence_penalty: -1,
  stop: ['a', 'b'],
  seed: 7,
  n: 2,
  logprobs: true,
  top_logprobs: 3,
  logit_bias: { '50256': -100 },
  reasoning_effort: 'low',
  verbosity: 'high',
  safety_identifier: 'u-1',
  metadata: { team: 'a' },
  service_tier: 'flex',
  stream: true,
  stream_options: { include_usage: true },
}

describe('readChat', () => {
  it('reads every field of OpenAI that we have a word for', () => {
    expect(read(FULL)).toEqual({
      model: 'gpt-5-mini',
      messages: [
        { role: 'system', content: [text('Be brief.')] },
        { role: 'developer', content: [text('And kind.')], name: 'boss' },
        { role: 'user', content: [text('Hi')] },
      ],
      tools: [
        {
          type: 'function',
          name: 'weather',
          description: 'The weather',
          parameters: { type: 'object' },
          strict: true,
        },
        { type: 'custom', name: 'sql', format: { type: 'text' } },
      ],
      toolChoice: { type: 'required' },
      parallelToolCalls: false,
      responseFormat: {
        type: 'json-schema',
        name: 'out',
        description: 'd',
        schema: { type: 'object' },
        strict: true,
      },
      maxOutputTokens: 100,
      temperature: 0.5,
      topP: 0.9,
      frequencyPenalty: 1,
      presencePenalty: -1,
      stop: ['a', 'b'],
      seed: 7,
      n: 2,
      logprobs: { top: 3 },
      logitBias: { '50256': -100 },
      reasoning: { effort: 'low' },
      verbosity: 'high',
      endUser: 'u-1',
      metadata: { team: 'a' },
      serviceTier: 'flex',
      stream: true,
      includeUsage: true,
      providerOptions: {},
    } satisfies ChatRequest)
  })

  it('says nothing that was not said', () => {
    expect(read({ model: 'm', messages: [HELLO] })).toEqual({
      model: 'm',
      messages: [{ role: 'user', content: [text('Hi')] }],
      stream: false,
      includeUsage: false,
      providerOptions: {},
    })
  })

  it('takes null for not said, everywhere', () => {
    const nulls = Object.fromEntries(Object.keys(FULL).map((name) => [name, null]))
    const messages = [{ role: 'user', content: 'Hi', name: null, cache_control: null }]
    expect(read({ ...nulls, store: null, model: 'm', messages })).toEqual(
      read({ model: 'm', messages: [HELLO] }),
    )
  })

  it('carries what it has no word for, untouched', () => {
    const unheard = {
      store: true,
      prediction: { type: 'content', content: 'x' },
      modalities: ['text', 'audio'],
      audio: { voice: 'alloy', format: 'wav' },
      web_search_options: {},
      prompt_cache_key: 'k',
      prompt_cache_options: { mode: 'explicit' },
      from_the_future: { deep: [1, null] },
    }
    expect(ask(unheard).providerOptions).toEqual(unheard)
  })

  it('carries by path what it has no word for deeper down', () => {
    const { providerOptions, tools } = ask({
      messages: [
        { role: 'user', content: [{ type: 'video_url', video_url: { url: 'https://v' } }, part] },
        { role: 'assistant', content: 'Once', prefix: true, audio: { id: 'audio_1' } },
      ],
      tools: [{ type: 'openrouter:web_search', parameters: {} }, WEATHER],
      response_format: { type: 'grammar', grammar: 'root ::= "a"' },
      reasoning: { effort: 'high', exclude: true },
      stream_options: { include_obfuscation: true, other: 1 },
    })
    expect(providerOptions).toEqual({
      'messages[0].content[0]': { type: 'video_url', video_url: { url: 'https://v' } },
      'messages[0].content[1].later': 1,
      'messages[1].prefix': true,
      'messages[1].audio': { id: 'audio_1' },
      'tools[0]': { type: 'openrouter:web_search', parameters: {} },
      response_format: { type: 'grammar', grammar: 'root ::= "a"' },
      'reasoning.exclude': true,
      stream_options: { include_obfuscation: true, other: 1 },
    })
    expect(tools).toHaveLength(1)
  })

  it.each<readonly [string, JsonObject, Partial<ChatRequest>]>([
    ['the older name of the maximum', { max_tokens: 5 }, { maxOutputTokens: 5 }],
    ['one stop as a string', { stop: '\n' }, { stop: ['\n'] }],
    ['an empty list of stops', { stop: [] }, {}],
    ['top_k', { top_k: 40 }, { topK: 40 }],
    ['top_k for no limit', { top_k: -1 }, {}],
    ['user', { user: 'u' }, { endUser: 'u' }],
    ['logprobs without alternatives', { logprobs: true }, { logprobs: {} }],
    ['a text format', { response_format: { type: 'text' } }, { responseFormat: { type: 'text' } }],
    [
      'a JSON format',
      { response_format: { type: 'json_object' } },
      { responseFormat: { type: 'json-object' } },
    ],
    [
      'a schema in the JSON format, as llama.cpp has it',
      { response_format: { type: 'json_object', schema: { type: 'array' } } },
      { responseFormat: { type: 'json-schema', name: 'response', schema: { type: 'array' } } },
    ],
    ['a cache marker on the whole', { cache_control: { type: 'ephemeral' } }, { cache: {} }],
    ["OpenRouter's wish for usage", { usage: { include: true } }, { includeUsage: true }],
    ["OpenRouter's effort", { reasoning: { effort: 'high' } }, { reasoning: { effort: 'high' } }],
    [
      "OpenRouter's budget",
      { reasoning: { max_tokens: 2000 } },
      { reasoning: { budgetTokens: 2000 } },
    ],
    ['reasoning on', { reasoning: { enabled: true } }, { reasoning: { effort: 'medium' } }],
    ['reasoning off', { reasoning: { enabled: false } }, { reasoning: { effort: 'none' } }],
    [
      "Anthropic's thinking",
      { thinking: { type: 'enabled', budget_tokens: 1024 } },
      { reasoning: { budgetTokens: 1024 } },
    ],
    ['thinking off', { thinking: { type: 'disabled' } }, { reasoning: { effort: 'none' } }],
    [
      'effort before all others',
      { reasoning_effort: 'low', reasoning: { max_tokens: 9 }, thinking: { type: 'disabled' } },
      { reasoning: { effort: 'low', budgetTokens: 9 } },
    ],
    ['no tools to choose from', { tool_choice: 'auto', tools: [] }, {}],
  ])('reads %s', (_what, fields, expected) => {
    expect(ask(fields)).toEqual({ ...ask({}), ...expected })
  })

  it('keeps both names of a person when they differ', () => {
    const request = ask({ user: 'a', safety_identifier: 'b' })
    expect([request.endUser, request.providerOptions]).toEqual(['b', { user: 'a' }])
  })

  it('keeps the words of thinking that it has no word for', () => {
    const thinking = { type: 'adaptive', display: 'summarized' }
    const request = ask({ thinking })
    expect(request.reasoning).toEqual({ effort: 'medium' })
    expect(request.providerOptions).toEqual({ thinking })
  })

  it.each([
    ['none', { type: 'none' }],
    ['auto', { type: 'auto' }],
    ['required', { type: 'required' }],
    [
      { type: 'function', function: { name: 'weather' } },
      { type: 'tool', name: 'weather' },
    ],
    [{ function: { name: 'weather' } }, { type: 'tool', name: 'weather' }],
    [
      { type: 'custom', custom: { name: 'sql' } },
      { type: 'tool', name: 'sql' },
    ],
    [
      {
        type: 'allowed_tools',
        allowed_tools: {
          mode: 'required',
          tools: [
            { type: 'function', function: { name: 'weather' } },
            { type: 'custom', custom: { name: 'sql' } },
          ],
        },
      },
      { type: 'allowed', mode: 'required', names: ['weather', 'sql'] },
    ],
  ])('reads the tool choice %j', (choice, expected) => {
    const tools = [WEATHER, { type: 'custom', custom: { name: 'sql' } }]
    expect(ask({ tools, tool_choice: choice }).toolChoice).toEqual(expected)
  })

  it('reads cache markers on tools', () => {
    const cache_control = { type: 'ephemeral', ttl: '1h' }
    const { tools } = ask({
      tools: [
        { ...WEATHER, cache_control },
        { type: 'function', function: { name: 'b', cache_control } },
      ],
    })
    expect(tools?.map((tool) => 'cache' in tool && tool.cache)).toEqual([
      { ttl: '1h' },
      { ttl: '1h' },
    ])
  })

  it('reads legacy functions, their calls and their results as tools', () => {
    const request = ask({
      functions: [{ name: 'f', parameters: {} }],
      function_call: { name: 'f' },
      messages: [
        HELLO,
        { role: 'assistant', content: null, function_call: { name: 'f', arguments: '{"a":1}' } },
        { role: 'function', name: 'f', content: '1' },
        { role: 'assistant', content: null, function_call: { name: 'f', arguments: '{}' } },
        { role: 'function', name: 'f', content: '2' },
      ],
    })
    expect(request).toMatchObject({
      tools: [{ type: 'function', name: 'f', parameters: {} }],
      toolChoice: { type: 'tool', name: 'f' },
      legacyFunctions: true,
      parallelToolCalls: false,
    })
    const ids = request.messages.map((message) =>
      message.role === 'tool'
        ? message.callId
        : message.content.map((one) => (one.type === 'tool-call' ? one.id : '')).join(),
    )
    expect(ids).toEqual([
      '',
      'call_function_1',
      'call_function_1',
      'call_function_2',
      'call_function_2',
    ])
  })
})

const part = { type: 'text', text: 'x', later: 1 }

function text(words: string): TextPart {
  return { type: 'text', text: words }
}

function ask(fields: Record<string, unknown>): ChatRequest {
  return read({ model: 'm', messages: [HELLO], ...fields })
}

function read(body: object): ChatRequest {
  const copy: JsonObject = JSON.parse(JSON.stringify(body))
  return readChat(copy)
}
