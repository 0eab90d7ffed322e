import { describe, expect, it } from 'vitest'
import type { ChatRequest, JsonObject, Message, Target } from '#protocol'
import { mistral } from '../../providers/mistral/index.ts'

const TARGET: Target = {
  provider: 'mistral',
  model: 'mistral-small-latest',
  baseUrl: 'https://api.mistral.ai',
  credential: 'secret',
  headers: { 'x-team': 'blue' },
}

const HELLO: Message = { role: 'user', content: [{ type: 'text', text: 'Hello' }] }
const WEATHER = { type: 'function', name: 'weather', parameters: { type: 'object' } } as const
const CALL: Message = {
  role: 'assistant',
  content: [{ type: 'tool-call', id: 'call_abc', name: 'weather', arguments: '{"city":"Oslo"}' }],
}
const RESULT: Message = {
  role: 'tool',
  callId: 'call_abc',
  content: [{ type: 'text', text: '4 degrees' }],
}
const PIXEL = { type: 'base64', data: 'iVBORw0=', mediaType: 'image/png' } as const

describe('a request to mistral', () => {
  it('goes to its chat address with the credential and the configured headers', () => {
    const { request } = encode({})
    expect(request).toMatchObject({
      method: 'POST',
      url: 'https://api.mistral.ai/v1/chat/completions',
      headers: {
        authorization: 'Bearer secret',
        'content-type': 'application/json',
        'x-team': 'blue',
      },
    })
  })

  it('holds nothing but the model and messages when nothing else was said', () => {
    expect(encode({})).toMatchObject({
      body: {
        model: 'mistral-small-latest',
        messages: [{ role: 'user', content: 'Hello' }],
        stream: false,
      },
      changes: [],
    })
    expect(Object.keys(encode({}).body)).toEqual(['model', 'messages', 'stream'])
  })

  it.each<[string, Partial<ChatRequest>, object]>([
    ['the most tokens', { maxOutputTokens: 7 }, { max_tokens: 7 }],
    ['a seed', { seed: 42 }, { random_seed: 42 }],
    ['sampling', { temperature: 0.3, topP: 0.9 }, { temperature: 0.3, top_p: 0.9 }],
    [
      'penalties',
      { frequencyPenalty: 0.5, presencePenalty: -1 },
      { frequency_penalty: 0.5, presence_penalty: -1 },
    ],
    ['stops and alternatives', { stop: ['END'], n: 2 }, { stop: ['END'], n: 2 }],
    ['the parallel switch', { parallelToolCalls: false }, { parallel_tool_calls: false }],
    ['metadata', { metadata: { team: 'blue' } }, { metadata: { team: 'blue' } }],
    ['effort none', { reasoning: { effort: 'none' } }, { reasoning_effort: 'none' }],
    ['effort high', { reasoning: { effort: 'high' } }, { reasoning_effort: 'high' }],
    [
      'JSON',
      { responseFormat: { type: 'json-object' } },
      { response_format: { type: 'json_object' } },
    ],
    [
      'a schema',
      {
        responseFormat: {
          type: 'json-schema',
          name: 'a',
          schema: { type: 'object' },
          strict: true,
        },
      },
      {
        response_format: {
          type: 'json_schema',
          json_schema: { name: 'a', schema: { type: 'object' }, strict: true },
        },
      },
    ],
    [
      'a tool without parameters',
      { tools: [{ type: 'function', name: 'now', description: 'The time', strict: true }] },
      {
        tools: [
          {
            type: 'function',
            function: {
              name: 'now',
              description: 'The time',
              strict: true,
              parameters: { type: 'object', properties: {} },
            },
          },
        ],
      },
    ],
    [
      'a required call',
      { tools: [WEATHER], toolChoice: { type: 'required' } },
      { tool_choice: 'any' },
    ],
    ['no call', { tools: [WEATHER], toolChoice: { type: 'none' } }, { tool_choice: 'none' }],
    [
      'a named call',
      { tools: [WEATHER], toolChoice: { type: 'tool', name: 'weather' } },
      { tool_choice: { type: 'function', function: { name: 'weather' } } },
    ],
    [
      'its own fields',
      { providerOptions: { safe_prompt: true, prompt_mode: 'reasoning', prompt_cache_key: 'k' } },
      { safe_prompt: true, prompt_mode: 'reasoning', prompt_cache_key: 'k' },
    ],
    [
      'a prediction',
      { providerOptions: { prediction: { type: 'content', content: 'abc' } } },
      { prediction: { type: 'content', content: 'abc' } },
    ],
  ])('carries %s exactly', (_, asked, sent) => {
    const { body, changes } = encode(asked)
    expect(body).toMatchObject(sent)
    expect(changes).toEqual([])
  })

  it.each<[string, Partial<ChatRequest>, object, string]>([
    ['a hot temperature', { temperature: 1.9 }, { temperature: 1.5 }, 'temperature'],
    ['a negative seed', { seed: -3 }, { random_seed: 3 }, 'seed'],
    [
      'minimal effort',
      { reasoning: { effort: 'minimal' } },
      { reasoning_effort: 'none' },
      'reasoning_effort',
    ],
    [
      'low effort',
      { reasoning: { effort: 'low' } },
      { reasoning_effort: 'high' },
      'reasoning_effort',
    ],
    [
      'top effort',
      { reasoning: { effort: 'max' } },
      { reasoning_effort: 'high' },
      'reasoning_effort',
    ],
    [
      'a thinking budget',
      { reasoning: { budgetTokens: 99 } },
      { reasoning_effort: 'high' },
      'reasoning.budget_tokens',
    ],
    [
      'a choice of allowed tools',
      {
        tools: [WEATHER, { type: 'function', name: 'now' }],
        toolChoice: { type: 'allowed', mode: 'required', names: ['now'] },
      },
      { tools: [{ function: { name: 'now' } }], tool_choice: 'any' },
      'tool_choice',
    ],
    [
      'a prediction in parts',
      {
        providerOptions: {
          prediction: { type: 'content', content: [{ text: 'a' }, { text: 'b' }] },
        },
      },
      { prediction: { type: 'content', content: 'ab' } },
      'prediction.content',
    ],
  ])('adapts %s and says so', (_, asked, sent, field) => {
    const { body, changes } = encode(asked)
    expect(body).toMatchObject(sent)
    expect(changes).toMatchObject([{ field, kind: 'adapted' }])
  })

  it.each<[string, Partial<ChatRequest>]>([
    ['top_k', { topK: 5 }],
    ['logprobs', { logprobs: { top: 2 } }],
    ['logit_bias', { logitBias: { '5': 10 } }],
    ['verbosity', { verbosity: 'low' }],
    ['user', { endUser: 'u1' }],
    ['service_tier', { serviceTier: 'flex' }],
    ['cache_control', { cache: {} }],
    ['audio', { providerOptions: { audio: { voice: 'alloy' } } }],
    ['__future__', { providerOptions: { __future__: 1 } }],
  ])('never sends %s, which mistral would refuse, and calls it lossy', (field, asked) => {
    const { body, changes } = encode(asked)
    expect(Object.keys(body)).toEqual(['model', 'messages', 'stream'])
    expect(changes).toMatchObject([{ field, kind: 'lossy' }])
  })

  it('refuses a custom tool by name', () => {
    expect(() => encode({ tools: [{ type: 'custom', name: 'shell' }] })).toThrow(
      expect.objectContaining({ code: 'unsupported_feature', param: 'tools[0]' }),
    )
  })
})

describe('messages to mistral', () => {
  it('have tool ids of nine letters and digits, the same for call and result', () => {
    const { body, changes } = encode({ messages: [HELLO, CALL, RESULT] })
    const [, call, result] = body.messages
    expect(call).toMatchObject({ role: 'assistant', content: '' })
    expect(call.tool_calls[0].id).toMatch(/^[a-zA-Z0-9]{9}$/)
    expect(result).toEqual({
      role: 'tool',
      content: '4 degrees',
      tool_call_id: call.tool_calls[0].id,
    })
    expect(changes.map(({ field, kind }) => [field, kind])).toEqual([
      ['messages[1].tool_calls[0].id', 'adapted'],
      ['messages[2].tool_call_id', 'adapted'],
    ])
  })

  it('keep the ids of mistral itself', () => {
    const messages: Message[] = [
      HELLO,
      {
        role: 'assistant',
        content: [{ type: 'tool-call', id: 'g6fVbXS8K', name: 'f', arguments: '{}' }],
      },
      { role: 'tool', callId: 'g6fVbXS8K', content: [] },
    ]
    const { body, changes } = encode({ messages })
    expect(body.messages[1].tool_calls[0].id).toBe('g6fVbXS8K')
    expect(body.messages[2]).toEqual({ role: 'tool', tool_call_id: 'g6fVbXS8K', content: '' })
    expect(changes).toEqual([])
  })

  it('give different foreign ids different ids', () => {
    const calls = Array.from({ length: 500 }, (_, index) => ({
      type: 'tool-call' as const,
      id: `functions.weather:${index}`,
      name: 'weather',
      arguments: '{}',
    }))
    const { body } = encode({ messages: [HELLO, { role: 'assistant', content: calls }] })
    const ids = body.messages[1].tool_calls.map((call: { id: string }) => call.id)
    expect(new Set(ids).size).toBe(500)
  })

  it('have an assistant between a tool result and a user', () => {
    const { body, changes } = encode({ messages: [HELLO, CALL, RESULT, HELLO] })
    expect(roles(body)).toEqual(['user', 'assistant', 'tool', 'assistant', 'user'])
    expect(body.messages[3]).toEqual({ role: 'assistant', content: 'OK' })
    expect(changes).toContainEqual(
      expect.objectContaining({ field: 'messages[3]', kind: 'adapted' }),
    )
  })

  it('have instructions as user words where mistral takes no system message', () => {
    const system: Message = { role: 'developer', content: [{ type: 'text', text: 'Be brief' }] }
    const said: Message = { role: 'assistant', content: [{ type: 'text', text: 'Hi' }] }
    const { body } = encode({
      messages: [system, HELLO, system, said, system, CALL, RESULT, system],
    })
    expect(roles(body).join(' ')).toBe(
      'system user system assistant user assistant tool assistant user',
    )
    expect(body.messages[4]).toEqual({ role: 'user', content: 'Be brief' })
  })

  it('continue an assistant message that stands last', () => {
    const said: Message = { role: 'assistant', content: [{ type: 'text', text: 'Once upon' }] }
    const { body, changes } = encode({ messages: [HELLO, said] })
    expect(body.messages[1]).toEqual({ role: 'assistant', content: 'Once upon', prefix: true })
    expect(changes).toMatchObject([{ field: 'messages[1]', kind: 'adapted' }])
  })

  it('leave out an assistant message that says nothing', () => {
    const silent: Message = { role: 'assistant', content: [{ type: 'text', text: '' }] }
    const { body, changes } = encode({ messages: [HELLO, silent, HELLO] })
    expect(roles(body)).toEqual(['user', 'user'])
    expect(changes).toMatchObject([{ field: 'messages[1]', kind: 'adapted' }])
  })

  it('replay reasoning as an array of chunks before the text', () => {
    const thought: Message = {
      role: 'assistant',
      content: [
        { type: 'reasoning', text: 'Hm.', signature: 'of-another-provider' },
        { type: 'reasoning', text: 'So.', signature: 'mistral.sig' },
        { type: 'reasoning', text: '', redacted: 'sealed' },
        { type: 'text', text: 'Yes' },
      ],
    }
    const { body, changes } = encode({ messages: [HELLO, thought, HELLO] })
    expect(body.messages[1].content).toEqual([
      { type: 'thinking', thinking: [{ type: 'text', text: 'Hm.' }] },
      { type: 'thinking', thinking: [{ type: 'text', text: 'So.' }], signature: 'sig' },
      { type: 'text', text: 'Yes' },
    ])
    expect(changes).toMatchObject([{ field: 'messages[1].content[2]', kind: 'lossy' }])
  })

  it('carry media each in its own chunk', () => {
    const content: Extract<Message, { role: 'user' }>['content'] = [
      { type: 'text', text: 'Look' },
      { type: 'image', source: PIXEL },
      { type: 'image', source: { type: 'url', url: 'https://a.example/b.png' }, detail: 'low' },
      {
        type: 'file',
        source: { type: 'base64', data: 'JVBERi0=', mediaType: 'application/pdf' },
        filename: 'a.pdf',
      },
      { type: 'file', source: { type: 'url', url: 'https://a.example/c.docx' } },
      { type: 'file', source: { type: 'id', id: 'f-1' } },
      { type: 'audio', data: 'UklGRg==', format: 'wav' },
    ]
    const { body, changes } = encode({ messages: [{ role: 'user', content }] })
    expect(body.messages[0].content).toEqual([
      { type: 'text', text: 'Look' },
      { type: 'image_url', image_url: 'data:image/png;base64,iVBORw0=' },
      { type: 'image_url', image_url: { url: 'https://a.example/b.png', detail: 'low' } },
      {
        type: 'document_url',
        document_url: 'data:application/pdf;base64,JVBERi0=',
        document_name: 'a.pdf',
      },
      { type: 'document_url', document_url: 'https://a.example/c.docx' },
      { type: 'file', file_id: 'f-1' },
      { type: 'input_audio', input_audio: 'UklGRg==' },
    ])
    expect(changes).toEqual([])
  })

  it('put media of tool results behind all results of the turn', () => {
    const seen: Message = {
      role: 'tool',
      callId: 'call_abc',
      content: [{ type: 'image', source: PIXEL }],
    }
    const { body, changes } = encode({ messages: [HELLO, CALL, seen, RESULT] })
    expect(roles(body)).toEqual(['user', 'assistant', 'tool', 'tool', 'assistant', 'user'])
    expect(body.messages[2].content).toBe('The result is attached.')
    expect(body.messages[5].content).toEqual([
      { type: 'image_url', image_url: 'data:image/png;base64,iVBORw0=' },
    ])
    expect(changes).toContainEqual(
      expect.objectContaining({ field: 'messages[2].content[0]', kind: 'adapted' }),
    )
  })

  it('name the sender and the cache marks that mistral has no place for', () => {
    const marked: Message = {
      role: 'user',
      name: 'Ann',
      content: [{ type: 'text', text: 'Hello', cache: { ttl: '5m' } }],
    }
    expect(encode({ messages: [marked] })).toMatchObject({
      body: { messages: [{ role: 'user', content: 'Hello' }] },
      changes: [
        { field: 'messages[0].name', kind: 'lossy' },
        { field: 'messages[0].content[0].cache_control', kind: 'lossy' },
      ],
    })
  })
})

function roles(body: { messages: { role: string }[] }): string[] {
  return body.messages.map(({ role }) => role)
}

function encode(asked: Partial<ChatRequest>) {
  const request: ChatRequest = {
    model: 'm',
    messages: [HELLO],
    stream: false,
    includeUsage: false,
    providerOptions: {} satisfies JsonObject,
    ...asked,
  }
  const encoded = mistral.chat!.encode(request, TARGET)
  return { ...encoded, body: JSON.parse(String(encoded.request.body)) }
}
