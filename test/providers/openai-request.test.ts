import { describe, expect, it } from 'vitest'
import type { Change, ChatRequest, JsonObject, Message, Target, UserMessage } from '#protocol'
import { providers } from '../../providers/index.ts'
import { fields, list } from '../../providers/openai-compatible/wire.ts'

const TARGET: Target = {
  provider: 'p',
  model: 'their-model',
  baseUrl: 'https://p.example/v1',
  credential: 'secret',
  headers: {},
}
const HELLO: Message = { role: 'user', content: [{ type: 'text', text: 'Hello' }] }
const ADD = { type: 'function', name: 'add', parameters: { type: 'object' } } as const
const PIXEL = { type: 'base64', mediaType: 'image/png', data: 'AAAA' } as const

describe('a request written for openai', () => {
  it('says what the caller said, and no more', () => {
    const { body, changes, url, headers } = written('openai', {})
    expect(body).toEqual({
      model: 'their-model',
      messages: [{ role: 'user', content: 'Hello' }],
    })
    expect(changes).toEqual([])
    expect(url).toBe('https://p.example/v1/chat/completions')
    expect(headers).toEqual({
      'content-type': 'application/json',
      authorization: 'Bearer secret',
    })
  })

  it('asks for usage whenever it streams', () => {
    expect(written('openai', { stream: true }).body).toMatchObject({
      stream: true,
      stream_options: { include_usage: true },
    })
    const { body, changes } = written('openai', {
      stream: true,
      providerOptions: {},
      streamOptions: { include_obfuscation: true },
    })
    expect(body['stream_options']).toEqual({ include_obfuscation: true, include_usage: true })
    expect(changes).toEqual([])
  })

  it('says nothing of parallel calls without tools, which is refused', () => {
    expect(written('openai', { parallelToolCalls: false }).body).not.toHaveProperty(
      'parallel_tool_calls',
    )
  })

  it('names the person twice where the caller did so differently', () => {
    const { body } = written('openai', { endUser: 'safe', providerOptions: { user: 'old' } })
    expect(body).toMatchObject({ user: 'old', safety_identifier: 'safe' })
  })

  it('has a place for every word of ours', () => {
    const { body, changes } = written('openai', {
      tools: [{ ...ADD, description: 'Adds', strict: true }],
      toolChoice: { type: 'allowed', mode: 'required', names: ['add'] },
      parallelToolCalls: false,
      responseFormat: { type: 'json-schema', name: 'out', schema: {}, strict: true },
      maxOutputTokens: 9,
      temperature: 0,
      topP: 0.5,
      frequencyPenalty: 1,
      presencePenalty: -1,
      stop: ['a', 'b'],
      seed: 7,
      n: 2,
      logprobs: { top: 3 },
      logitBias: { '50256': -100 },
      reasoning: { effort: 'low' },
      verbosity: 'high',
      endUser: 'u1',
      metadata: { a: 'b' },
      serviceTier: 'flex',
      providerOptions: { store: true },
    })
    expect(body).toEqual({
      model: 'their-model',
      messages: [{ role: 'user', content: 'Hello' }],
      tools: [
        {
          type: 'function',
          function: {
            name: 'add',
            description: 'Adds',
            parameters: { type: 'object' },
            strict: true,
          },
        },
      ],
      tool_choice: {
        type: 'allowed_tools',
        allowed_tools: {
          mode: 'required',
          tools: [{ type: 'function', function: { name: 'add' } }],
        },
      },
      parallel_tool_calls: false,
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'out', schema: {}, strict: true },
      },
      max_completion_tokens: 9,
      temperature: 0,
      top_p: 0.5,
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
      user: 'u1',
      metadata: { a: 'b' },
      service_tier: 'flex',
      store: true,
    })
    expect(changes).toEqual([])
  })

  it('carries pictures, files and sound of a user', () => {
    const { body } = written('openai', {
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'See' },
            { type: 'image', source: PIXEL, detail: 'low' },
            { type: 'image', source: { type: 'url', url: 'https://a.example/x.png' } },
            {
              type: 'file',
              source: { type: 'base64', mediaType: 'application/pdf', data: 'JVBE' },
              filename: 'a.pdf',
            },
            { type: 'file', source: { type: 'id', id: 'file-1' } },
            {
              type: 'file',
              source: { type: 'base64', mediaType: 'text/plain', data: 'SGk=' },
            },
            { type: 'audio', data: 'UklG', format: 'wav' },
          ],
        },
      ],
    })
    expect(messagesOf(body)[0]?.['content']).toEqual([
      { type: 'text', text: 'See' },
      { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA', detail: 'low' } },
      { type: 'image_url', image_url: { url: 'https://a.example/x.png' } },
      {
        type: 'file',
        file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,JVBE' },
      },
      { type: 'file', file: { file_id: 'file-1' } },
      { type: 'text', text: 'Hi' },
      { type: 'input_audio', input_audio: { data: 'UklG', format: 'wav' } },
    ])
  })

  it('lets pictures of tool results follow the last result as a message of the user', () => {
    const { body, changes } = written('openai', {
      messages: [
        {
          role: 'assistant',
          content: [
            { type: 'tool-call', id: 'a', name: 'add', arguments: '' },
            { type: 'tool-call', id: 'b', name: 'add', arguments: '{}' },
          ],
        },
        {
          role: 'tool',
          callId: 'a',
          content: [
            { type: 'text', text: 'one' },
            { type: 'image', source: PIXEL },
          ],
        },
        { role: 'tool', callId: 'b', content: [{ type: 'text', text: 'two' }], isError: true },
        HELLO,
      ],
    })
    expect(messagesOf(body)).toEqual([
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: 'a', type: 'function', function: { name: 'add', arguments: '{}' } },
          { id: 'b', type: 'function', function: { name: 'add', arguments: '{}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'a', content: 'one' },
      { role: 'tool', tool_call_id: 'b', content: 'Error: two' },
      {
        role: 'user',
        content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }],
      },
      { role: 'user', content: 'Hello' },
    ])
    expect(changes.map(({ field, kind }) => `${field} ${kind}`)).toEqual([
      'messages[1].content adapted',
      'messages[2].is_error adapted',
    ])
  })

  it('rewrites names and ids its grammar does not allow, alike everywhere, and back', () => {
    const long = `toolu_${'x'.repeat(60)}`
    const request: Partial<ChatRequest> = {
      tools: [
        { ...ADD, name: 'mcp.add:1' },
        { ...ADD, name: 'mcp_add_1' },
      ],
      toolChoice: { type: 'tool', name: 'mcp.add:1' },
      messages: [
        {
          role: 'assistant',
          content: [{ type: 'tool-call', id: long, name: 'mcp.add:1', arguments: '{}' }],
        },
        { role: 'tool', callId: long, content: [] },
      ],
    }
    const { body, changes } = written('openai', request)
    const [call, result] = messagesOf(body)
    const name = 'mcp_add_1_'
    expect(body).toMatchObject({
      tools: [{ function: { name: expect.stringContaining(name) } }, {}],
      tool_choice: { function: { name: expect.stringContaining(name) } },
    })
    expect(changes).toMatchObject([{ field: 'tools[mcp.add:1]', kind: 'adapted' }])
    expect(call).toMatchObject({
      tool_calls: [{ id: result?.['tool_call_id'], function: { name: wireName(body) } }],
    })
    expect(result?.['tool_call_id']).toMatch(/^.{1,40}$/)

    const answer = {
      choices: [{ message: { tool_calls: [{ id: 'a', function: { name: wireName(body) } }] } }],
    }
    const response = chat('openai').decode(answer, asked(request))
    expect(response.choices[0]?.content).toMatchObject([{ name: 'mcp.add:1' }])
  })

  it('keeps free-text tools', () => {
    const { body } = written('openai', {
      tools: [{ type: 'custom', name: 'math', format: { type: 'text' } }],
      toolChoice: { type: 'tool', name: 'math' },
    })
    expect(body).toMatchObject({
      tools: [{ type: 'custom', custom: { name: 'math', format: { type: 'text' } } }],
      tool_choice: { type: 'custom', custom: { name: 'math' } },
    })
  })

  it('names what it cannot carry', () => {
    const { changes } = written('openai', {
      topK: 5,
      cache: {},
      stop: ['a', 'b', 'c', 'd', 'e'],
      reasoning: { budgetTokens: 3000 },
      providerOptions: { guardrail: 1 },
      messages: [
        { role: 'assistant', content: [{ type: 'reasoning', text: 'hm', signature: 's' }] },
        HELLO,
      ],
    })
    expect(Object.fromEntries(changes.map(({ field, kind }) => [field, kind]))).toEqual({
      'messages[0].reasoning': 'lossy',
      cache_control: 'adapted',
      guardrail: 'lossy',
      'reasoning.budget': 'adapted',
      stop: 'lossy',
      top_k: 'lossy',
    })
  })
})

describe('a request written for another provider', () => {
  const thought: Message = {
    role: 'assistant',
    content: [
      { type: 'reasoning', text: 'hm', signature: 'sig' },
      { type: 'reasoning', text: '', redacted: 'sealed' },
      { type: 'text', text: 'Hi' },
    ],
  }
  const replays = {
    deepseek: { reasoning_content: 'hm' },
    groq: { reasoning: 'hm' },
    openrouter: {
      reasoning_details: [
        {
          type: 'reasoning.text',
          text: 'hm',
          signature: 'sig',
          format: 'anthropic-claude-v1',
          index: 0,
        },
        {
          type: 'reasoning.encrypted',
          data: 'sealed',
          format: 'anthropic-claude-v1',
          index: 1,
        },
      ],
    },
  }
  for (const [id, replay] of Object.entries(replays)) {
    it(`returns reasoning to ${id} where it belongs`, () => {
      const { body } = written(id, { messages: [thought] })
      expect(messagesOf(body)).toEqual([{ role: 'assistant', content: 'Hi', ...replay }])
    })
  }

  const formats = ['openai-responses-v1', 'google-gemini-v1', 'anthropic-claude-v1', 'unknown']
  it('returns to openrouter the details it sent, of every format', () => {
    const sent = formats.flatMap((format, index) => [
      { type: 'reasoning.summary', summary: 'so', format, index, id: 'rs_1' },
      { type: 'reasoning.encrypted', data: 'xyz', format, index: index + 10 },
    ])
    const answer = { choices: [{ message: { content: 'Hi', reasoning_details: sent } }] }
    const response = chat('openrouter').decode(answer, asked({}))
    const content = response.choices[0]!.content
    const { body } = written('openrouter', { messages: [{ role: 'assistant', content }] })
    const returned = messagesOf(body)[0]?.['reasoning_details']
    expect(returned).toHaveLength(sent.length)
    // Of Anthropic's sealed data only what proves it is kept: the place may differ.
    expect(returned).toEqual(
      sent.map((detail) =>
        detail.type === 'reasoning.encrypted' && detail.format === 'anthropic-claude-v1'
          ? { ...detail, index: expect.any(Number) }
          : detail,
      ),
    )
  })

  it("keeps Google's signature with the call it belongs to, there and back", () => {
    const detail = { type: 'reasoning.encrypted', data: 'xyz', format: 'google-gemini-v1', id: 'a' }
    const call = { id: 'a', type: 'function', function: { name: 'add', arguments: '{}' } }
    const message = { tool_calls: [call], reasoning_details: [detail] }
    const response = chat('openrouter').decode({ choices: [{ message }] }, asked({}))
    const content = response.choices[0]!.content
    expect(content).toEqual([
      { type: 'tool-call', id: 'a', name: 'add', arguments: '{}', signature: 'xyz' },
    ])
    const { body } = written('openrouter', { messages: [{ role: 'assistant', content }] })
    expect(messagesOf(body)).toMatchObject([{ reasoning_details: [detail] }])
  })

  it('gives deepseek an empty thought with a call that had none', () => {
    const content = [{ type: 'tool-call', id: 'a', name: 'add', arguments: '{}' }] as const
    const { body } = written('deepseek', { messages: [{ role: 'assistant', content }] })
    expect(messagesOf(body)).toMatchObject([{ reasoning_content: '' }])
  })

  it('marks for openrouter what is to be cached', () => {
    const cache = { ttl: '1h' } as const
    const { body, changes } = written('openrouter', {
      tools: [{ ...ADD, cache }],
      messages: [{ role: 'system', content: [{ type: 'text', text: 'Be', cache }] }],
    })
    const cache_control = { type: 'ephemeral', ttl: '1h' }
    expect(body).toMatchObject({
      tools: [{ cache_control }],
      messages: [{ content: [{ type: 'text', text: 'Be', cache_control }] }],
    })
    expect(changes).toEqual([])
  })

  const efforts: readonly (readonly [string, ChatRequest['reasoning'], JsonObject])[] = [
    ['deepseek', { effort: 'high' }, { reasoning_effort: 'high' }],
    ['deepseek', { effort: 'none' }, { thinking: { type: 'disabled' } }],
    ['openrouter', { effort: 'low' }, { reasoning: { effort: 'low' } }],
    ['openrouter', { budgetTokens: 5000 }, { reasoning: { max_tokens: 5000 } }],
    ['alibaba', { effort: 'none' }, { enable_thinking: false }],
    ['alibaba', { budgetTokens: 5000 }, { enable_thinking: true, thinking_budget: 5000 }],
    ['openai', { budgetTokens: 5000 }, { reasoning_effort: 'medium' }],
  ]
  for (const [id, reasoning, says] of efforts) {
    it(`asks ${id} to think ${JSON.stringify(reasoning)}`, () => {
      const {
        model: _model,
        messages: _messages,
        ...rest
      } = written(id, { reasoning: reasoning! }).body
      expect(rest).toEqual(says)
    })
  }

  it('joins texts and sends developers as system where lists and roles are unknown', () => {
    const content = [
      { type: 'text', text: 'one' },
      { type: 'text', text: 'two' },
    ] as const
    const { body } = written('deepseek', { messages: [{ role: 'developer', content }] })
    expect(messagesOf(body)).toEqual([{ role: 'system', content: 'one\ntwo' }])
  })

  it('takes only allowed tools along where it cannot say which are allowed', () => {
    const { body } = written('groq', {
      tools: [ADD, { ...ADD, name: 'sub' }],
      toolChoice: { type: 'allowed', mode: 'auto', names: ['sub'] },
    })
    expect(body).toMatchObject({ tools: [{ function: { name: 'sub' } }], tool_choice: 'auto' })
  })

  it('leaves the tools out for ollama when none may be called', () => {
    const { body } = written('ollama', { tools: [ADD], toolChoice: { type: 'none' } })
    expect(body).not.toHaveProperty('tools')
    expect(body).not.toHaveProperty('tool_choice')
  })

  it("writes Perplexity's own part for files", () => {
    const source = { type: 'url', url: 'https://a.example/x.pdf' } as const
    const { body } = written('perplexity', {
      messages: [{ role: 'user', content: [{ type: 'file', source, filename: 'x.pdf' }] }],
    })
    expect(messagesOf(body)[0]?.['content']).toEqual([
      { type: 'file_url', file_url: { url: source.url }, file_name: 'x.pdf' },
    ])
  })

  const URL_SOURCE = { type: 'url', url: 'https://a.example/x' } as const
  const refusals: readonly (readonly [string, string, Partial<ChatRequest>])[] = [
    ['groq', 'n', { n: 2 }],
    ['groq', 'logprobs', { logprobs: {} }],
    ['perplexity', 'tools', { tools: [ADD] }],
    [
      'deepseek',
      'response_format',
      { responseFormat: { type: 'json-schema', name: 'a', schema: {} } },
    ],
    ['lmstudio', 'response_format', { responseFormat: { type: 'json-object' } }],
    ['ollama', 'tool_choice', { tools: [ADD], toolChoice: { type: 'required' } }],
    ['lmstudio', 'tool_choice', { tools: [ADD], toolChoice: { type: 'tool', name: 'add' } }],
    ['groq', 'tools[0]', { tools: [{ type: 'custom', name: 'math' }] }],
    ['deepseek', 'messages[0].content[0]', user({ type: 'image', source: URL_SOURCE })],
    ['ollama', 'messages[0].content[0]', user({ type: 'image', source: URL_SOURCE })],
    ['groq', 'messages[0].content[0]', user({ type: 'audio', data: 'A', format: 'wav' })],
    ['openai', 'messages[0].content[0]', user({ type: 'file', source: URL_SOURCE })],
  ]
  for (const [id, param, request] of refusals) {
    it(`is refused for ${id} over ${param} (${Object.keys(request).join(', ')})`, () => {
      expect(() => written(id, request)).toThrow(
        expect.objectContaining({ code: 'unsupported_feature', param }),
      )
    })
  }

  it('leaves hints out that it lacks, and says so', () => {
    const { body, changes } = written('cerebras', { frequencyPenalty: 1, temperature: 2, seed: 1 })
    expect(body).toMatchObject({ temperature: 1.5, seed: 1 })
    expect(body).not.toHaveProperty('frequency_penalty')
    expect(changes.map(({ field, kind }) => `${field} ${kind}`)).toEqual([
      'frequency_penalty lossy',
      'temperature adapted',
    ])
  })
})

function chat(id: string): NonNullable<ReturnType<typeof providers.get>>['chat'] & object {
  return providers.get(id)!.chat!
}

function asked(request: Partial<ChatRequest>): ChatRequest {
  return {
    model: 'm',
    messages: [HELLO],
    stream: false,
    includeUsage: false,
    providerOptions: {},
    ...request,
  }
}

function written(
  id: string,
  request: Partial<ChatRequest>,
): {
  body: JsonObject
  changes: readonly Change[]
  url: string
  headers: object
} {
  const { request: sent, changes } = chat(id).encode(asked(request), TARGET)
  return { body: JSON.parse(String(sent.body)), changes, url: sent.url, headers: sent.headers }
}

function user(part: UserMessage['content'][number]): Partial<ChatRequest> {
  return { messages: [{ role: 'user', content: [part] }] }
}

function messagesOf(body: JsonObject): readonly JsonObject[] {
  return list(body['messages']).map(fields)
}

function wireName(body: JsonObject): unknown {
  return fields(fields(body['tool_choice'])['function'])['name']
}
