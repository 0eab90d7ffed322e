import { describe, expect, it } from 'vitest'
import type { ChatRequest, JsonObject } from '#protocol'
import { anthropic } from '../../providers/anthropic/index.ts'
import { PIXEL, body, changes, encode, refusal, target, user } from './anthropic-requests.ts'

describe('a request to Anthropic', () => {
  it('goes to its address with the credential, its version and the configured headers', () => {
    const to = target({ headers: { 'X-Team': 'blue' } })
    expect(anthropic.chat.encode(chatRequest(), to).request).toMatchObject({
      method: 'POST',
      url: 'https://api.anthropic.com/v1/messages',
      headers: {
        'content-type': 'application/json',
        'x-api-key': 'secret',
        'anthropic-version': '2023-06-01',
        'x-team': 'blue',
      },
    })
  })

  it('has no credential where there is none', () => {
    const { credential: _, ...open } = target()
    expect(anthropic.chat.encode(chatRequest(), open).request.headers).not.toHaveProperty(
      'x-api-key',
    )
  })

  it('holds nothing that was not said, but the maximum the API wants', () => {
    expect(body({ maxOutputTokens: 10 })).toEqual({
      model: 'claude-sonnet-4-5',
      max_tokens: 10,
      messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello' }] }],
    })
    expect(changes({ maxOutputTokens: 10 })).toEqual([])
  })

  it('does not change what it was given', () => {
    const request = chatRequest({ messages: [user('  '), user('x')], stop: [' '] })
    const before = structuredClone(request)
    anthropic.chat.encode(request, target())
    expect(request).toEqual(before)
  })

  it('holds whole characters only', () => {
    const messages = [user('a\ud83d b\\ud83d 🎉')]
    expect(body({ messages }).messages[0]?.content).toEqual([
      { type: 'text', text: 'a\ufffd b\\ud83d 🎉' },
    ])
    expect(encode({ messages }).request.body).not.toContain('"a\\ud83d')
    expect(changes({ messages })).toEqual(['adapted messages'])
    expect(changes({ messages: [user('b\\ud83d')] })).toEqual([])
  })

  it.each([
    ["the caller's own", { maxOutputTokens: 7 }, { maxOutputTokens: 100 }, 7],
    ["the model's most, where the caller has none", {}, { maxOutputTokens: 100 }, 100],
    [
      "the model's most, where the caller wants more",
      { maxOutputTokens: 999 },
      { maxOutputTokens: 100 },
      100,
    ],
    ['a default of the family', {}, { model: 'claude-opus-4-1' }, 32_000],
    ['a smaller default of an old family', {}, { model: 'claude-3-haiku-20240307' }, 4096],
  ])('takes as its maximum %s', (_, request, to, most) => {
    expect(body(request, to)['max_tokens']).toBe(most)
  })

  it('streams when asked to', () => {
    expect(body({ stream: true })['stream']).toBe(true)
  })

  it('says in which words no answer is to go on', () => {
    expect(body({ stop: ['END', '\n'] })['stop_sequences']).toEqual(['END'])
    expect(changes({ stop: ['END', '\n'] })).toEqual(['lossy stop'])
    expect(body({ stop: ['\n'] })).not.toHaveProperty('stop_sequences')
  })

  it.each([
    ['user-42', { user_id: 'user-42' }, []],
    ['ada@example.com', { user_id: expect.stringMatching(/^[0-9a-f]{64}$/) }, ['adapted user']],
    ['+44 20 7946 0000', { user_id: expect.stringMatching(/^[0-9a-f]{64}$/) }, ['adapted user']],
    ['x'.repeat(513), { user_id: expect.stringMatching(/^[0-9a-f]{64}$/) }, ['adapted user']],
  ])('names the end user %s in a way the API takes', (endUser, metadata, noted) => {
    expect(body({ endUser })['metadata']).toEqual(metadata)
    expect(changes({ endUser })).toEqual(noted)
  })

  it.each([
    ['auto', 'auto', []],
    ['default', 'standard_only', ['adapted service_tier']],
    ['priority', 'auto', ['adapted service_tier']],
    ['flex', undefined, ['lossy service_tier']],
  ])('puts the tier %s in its own words', (serviceTier, written, noted) => {
    expect(body({ serviceTier })['service_tier']).toBe(written)
    expect(changes({ serviceTier })).toEqual(noted)
  })

  it.each<[string, Partial<ChatRequest>]>([
    ['seed', { seed: 1 }],
    ['logprobs', { logprobs: { top: 2 } }],
    ['logit_bias', { logitBias: { '50256': -100 } }],
    ['frequency_penalty', { frequencyPenalty: 0.5 }],
    ['presence_penalty', { presencePenalty: 0.5 }],
    ['verbosity', { verbosity: 'low' }],
    ['metadata', { metadata: { a: 'b' } }],
  ])('names %s as lost', (field, request) => {
    expect(changes(request)).toEqual([`lossy ${field}`])
  })

  it('says nothing of penalties that ask for nothing', () => {
    expect(changes({ frequencyPenalty: 0, presencePenalty: 0 })).toEqual([])
  })

  it('refuses to be several answers', () => {
    expect(refusal({ n: 2 })).toMatchObject({ code: 'unsupported_feature', param: 'n' })
    expect(changes({ n: 1 })).toEqual([])
  })

  it("passes on Anthropic's own options and names the others", () => {
    const providerOptions: JsonObject = {
      container: 'container_1',
      mcp_servers: [{ type: 'url', name: 'docs', url: 'https://mcp.example' }],
      context_management: { edits: [] },
      betas: ['mcp-client-2025-11-20'],
      output_config: { effort: 'low' },
      repetition_penalty: 1.1,
      thinking: 'hard',
      absent: null,
    }
    const { request } = encode({ providerOptions })
    const {
      betas: _,
      repetition_penalty: __,
      thinking: ___,
      absent: ____,
      ...known
    } = providerOptions
    expect(body({ providerOptions })).toMatchObject(known)
    expect(request.headers['anthropic-beta']).toBe('mcp-client-2025-11-20')
    expect(changes({ providerOptions })).toEqual(['lossy repetition_penalty', 'lossy thinking'])
  })

  it('sends betas of the settings beside its own, each once', () => {
    const to = target({ headers: { 'anthropic-beta': 'context-1m-2025-08-07, a' } })
    const request = chatRequest({ providerOptions: { betas: ['a', 'b'] } })
    expect(anthropic.chat.encode(request, to).request.headers['anthropic-beta']).toBe(
      'a,b,context-1m-2025-08-07',
    )
  })
})

describe('the cache of an Anthropic request', () => {
  it('is marked where the caller marks it, for as long', () => {
    const written = body({
      messages: [
        { role: 'system', content: [{ type: 'text', text: 'Rules', cache: { ttl: '1h' } }] },
        { role: 'user', content: [{ type: 'image', source: PIXEL, cache: {} }] },
      ],
      tools: [{ type: 'function', name: 'f', cache: { ttl: '5m' } }],
    })
    expect(written).toMatchObject({
      tools: [{ cache_control: { type: 'ephemeral', ttl: '5m' } }],
      system: [{ cache_control: { type: 'ephemeral', ttl: '1h' } }],
      messages: [{ content: [{ cache_control: { type: 'ephemeral' } }] }],
    })
  })

  it('may be marked for the whole request', () => {
    expect(body({ cache: { ttl: '1h' } })['cache_control']).toEqual({
      type: 'ephemeral',
      ttl: '1h',
    })
  })

  it('marks a tool result as a whole', () => {
    const written = body({
      messages: [
        user('x'),
        {
          role: 'assistant',
          content: [{ type: 'tool-call', id: 'a', name: 'f', arguments: '{}' }],
        },
        { role: 'tool', callId: 'a', content: [{ type: 'text', text: '1', cache: {} }] },
      ],
    })
    expect(written.messages[2]?.content).toEqual([
      { type: 'tool_result', tool_use_id: 'a', content: '1', cache_control: { type: 'ephemeral' } },
    ])
  })

  it.each([
    [
      'four',
      {},
      4,
      ['adapted tools[0].cache_control', 'adapted messages[0].content[0].cache_control'],
    ],
    [
      'three beside the one for the whole request',
      { cache: {} },
      4,
      [
        'adapted tools[0].cache_control',
        'adapted messages[0].content[0].cache_control',
        'adapted messages[1].content[0].cache_control',
      ],
    ],
  ] as const)('keeps the last %s of too many marks', (_, more, count, noted) => {
    const request: Partial<ChatRequest> = {
      ...more,
      tools: [{ type: 'function', name: 'f', cache: {} }],
      messages: [
        { role: 'system', content: [{ type: 'text', text: 'Rules', cache: {} }] },
        ...['a', 'b', 'c', 'd'].map((text) => ({
          role: 'user' as const,
          content: [{ type: 'text' as const, text, cache: {} }],
        })),
      ],
    }
    expect(JSON.stringify(body(request)).match(/"cache_control"/g)).toHaveLength(count)
    expect(changes(request)).toEqual(noted)
  })
})

function chatRequest(more: Partial<ChatRequest> = {}): ChatRequest {
  return {
    model: 'claude',
    messages: [user('Hello')],
    stream: false,
    includeUsage: false,
    providerOptions: {},
    ...more,
  }
}
