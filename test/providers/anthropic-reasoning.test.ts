import { describe, expect, it } from 'vitest'
import type { AssistantPart, ChatRequest, Message } from '#protocol'
import { body, changes, result, user } from './anthropic-requests.ts'

type Effort = NonNullable<NonNullable<ChatRequest['reasoning']>['effort']>

const ADAPTIVE = { type: 'adaptive' }
const SUMMARISED = { type: 'adaptive', display: 'summarized' }
const CALL: AssistantPart = { type: 'tool-call', id: 'a', name: 'f', arguments: '{}' }
const THOUGHT: AssistantPart = { type: 'reasoning', text: 'hm', signature: 's' }

describe('reasoning with Anthropic', () => {
  it.each<[string, Effort, unknown, string | undefined, string[]]>([
    ['claude-opus-4-6', 'low', ADAPTIVE, 'low', []],
    ['claude-opus-4-6', 'xhigh', ADAPTIVE, 'high', ['adapted reasoning_effort']],
    ['claude-sonnet-4-6', 'max', ADAPTIVE, 'max', []],
    ['claude-opus-4-6', 'none', { type: 'disabled' }, undefined, []],
    ['claude-opus-4-8', 'xhigh', SUMMARISED, 'xhigh', []],
    ['claude-sonnet-5', 'minimal', SUMMARISED, 'low', ['adapted reasoning_effort']],
    ['claude-opus-5-5', 'high', SUMMARISED, 'high', []],
    ['claude-newest-9', 'high', SUMMARISED, 'high', []],
    ['claude-fable-5', 'none', undefined, 'low', ['lossy reasoning_effort']],
    ['claude-sonnet-4-5', 'none', undefined, undefined, []],
    [
      'claude-sonnet-4-5-20250929',
      'minimal',
      { type: 'enabled', budget_tokens: 1024 },
      undefined,
      [],
    ],
    ['claude-opus-4-20250514', 'high', { type: 'enabled', budget_tokens: 16_000 }, undefined, []],
    ['claude-3-7-sonnet-latest', 'medium', { type: 'enabled', budget_tokens: 8192 }, undefined, []],
    ['claude-3-5-haiku-20241022', 'low', undefined, undefined, ['lossy reasoning_effort']],
    ['claude-3-opus-20240229', 'low', undefined, undefined, ['lossy reasoning_effort']],
    ['claude-instant-1.2', 'low', undefined, undefined, ['lossy reasoning_effort']],
    ['glm-4.6', 'low', { type: 'enabled', budget_tokens: 2048 }, undefined, []],
  ])('asks %s for %s effort in its own words', (model, effort, thinking, written, noted) => {
    const request = { reasoning: { effort }, maxOutputTokens: 20_000 }
    const sent = body(request, { model })
    expect(sent['thinking']).toEqual(thinking)
    expect(sent['output_config']).toEqual(written === undefined ? undefined : { effort: written })
    expect(changes(request, { model })).toEqual(noted)
  })

  it.each<[string, number, number, unknown, string[]]>([
    ['claude-sonnet-4-5', 5000, 20_000, { type: 'enabled', budget_tokens: 5000 }, []],
    ['claude-opus-4-6', 5000, 20_000, { type: 'enabled', budget_tokens: 5000 }, []],
    [
      'claude-sonnet-4-5',
      100,
      20_000,
      { type: 'enabled', budget_tokens: 1024 },
      ['adapted reasoning.max_tokens'],
    ],
    [
      'claude-sonnet-4-5',
      99_999,
      20_000,
      { type: 'enabled', budget_tokens: 19_999 },
      ['adapted reasoning.max_tokens'],
    ],
    ['claude-opus-4-7', 5000, 20_000, SUMMARISED, ['adapted reasoning.max_tokens']],
    ['claude-opus-4-7', 0, 20_000, { type: 'disabled' }, []],
  ])(
    'gives %s a budget of %i within %i',
    (model, budgetTokens, maxOutputTokens, thinking, noted) => {
      const request = { reasoning: { budgetTokens }, maxOutputTokens }
      expect(body(request, { model })['thinking']).toEqual(thinking)
      expect(changes(request, { model })).toEqual(noted)
    },
  )

  it('leaves room for the answer, or does not think', () => {
    const reasoning = { effort: 'high' } as const
    expect(body({ reasoning, maxOutputTokens: 4000 })['thinking']).toEqual({
      type: 'enabled',
      budget_tokens: 3200,
    })
    expect(body({ reasoning, maxOutputTokens: 1200 })).not.toHaveProperty('thinking')
    expect(changes({ reasoning, maxOutputTokens: 1200 })).toEqual(['lossy reasoning_effort'])
  })

  it.each<[string, Message[], string[]]>([
    ['goes on through calls that began with thinking', loop([THOUGHT, CALL]), []],
    ['stops where the calls came without thinking', loop([CALL]), ['adapted reasoning_effort']],
    ['is free again once the calls are over', [...loop([CALL]), said('done'), user('next')], []],
    [
      'goes on where only the first of several calls had thinking',
      [...loop([THOUGHT, CALL]), ...loop([{ ...CALL, id: 'b' }], 'b').slice(1)],
      [],
    ],
  ])('%s', (_, messages, noted) => {
    const request: Partial<ChatRequest> = { messages, reasoning: { effort: 'low' } }
    expect('thinking' in body(request)).toBe(noted.length === 0)
    expect(changes(request)).toEqual(noted)
  })

  it('that decides for itself needs no thinking before earlier calls', () => {
    const request: Partial<ChatRequest> = { messages: loop([CALL]), reasoning: { effort: 'low' } }
    expect(body(request, { model: 'claude-opus-4-6' })['thinking']).toEqual(ADAPTIVE)
  })

  it('gives way to a forced tool on models that can not have both', () => {
    const request: Partial<ChatRequest> = {
      reasoning: { effort: 'low' },
      tools: [{ type: 'function', name: 'f' }],
      toolChoice: { type: 'required' },
    }
    expect(body(request)).toMatchObject({ tool_choice: { type: 'any' } })
    expect(body(request)).not.toHaveProperty('thinking')
    expect(changes(request)).toEqual(['lossy reasoning_effort'])
    expect(changes(request, { model: 'claude-opus-4-6' })).toEqual([])
  })

  it('gives way to words the model is to go on from', () => {
    const request: Partial<ChatRequest> = {
      messages: [user('x'), said('y')],
      reasoning: { effort: 'low' },
    }
    expect(body(request)).not.toHaveProperty('thinking')
    expect(changes(request)).toEqual(['lossy reasoning_effort'])
  })

  it("may be asked for in Anthropic's own words", () => {
    const thinking = { type: 'enabled', budget_tokens: 2000 }
    expect(body({ providerOptions: { thinking } })['thinking']).toEqual(thinking)
    expect(changes({ providerOptions: { thinking }, temperature: 0.2 })).toEqual([
      'lossy temperature',
    ])
  })

  it.each<[object, ChatRequest['reasoning'], string[]]>([
    [{ type: 'adaptive' }, { effort: 'medium' }, []],
    [{ type: 'adaptive' }, { effort: 'high' }, ['lossy reasoning_effort']],
    [{ type: 'disabled' }, { effort: 'none' }, []],
    [{ type: 'enabled', budget_tokens: 2000, display: 'omitted' }, { budgetTokens: 2000 }, []],
    [{ type: 'enabled', budget_tokens: 2000 }, { effort: 'low' }, ['lossy reasoning_effort']],
  ])(
    'counts %j beside the wish %j as a loss only where they differ',
    (thinking, reasoning, noted) => {
      const request = { providerOptions: { thinking: { ...thinking } }, reasoning: reasoning! }
      expect(changes(request, { model: 'claude-opus-4-6' })).toEqual(noted)
    },
  )
})

describe('sampling with Anthropic', () => {
  it.each<[string, string, Partial<ChatRequest>, object, string[]]>([
    [
      'as it is',
      'claude-sonnet-4-0',
      { temperature: 0.7, topP: 0.3, topK: 50 },
      { temperature: 0.7, top_p: 0.3, top_k: 50 },
      [],
    ],
    [
      'too hot',
      'claude-sonnet-4-5',
      { temperature: 1.7 },
      { temperature: 1 },
      ['adapted temperature'],
    ],
    [
      'temperature and top_p',
      'claude-opus-4-1',
      { temperature: 0.7, topP: 0.3 },
      { temperature: 0.7 },
      ['lossy top_p'],
    ],
    [
      'temperature and a top_p of all',
      'claude-opus-4-1',
      { temperature: 0.7, topP: 1 },
      { temperature: 0.7 },
      [],
    ],
    [
      'the usual temperature and top_p',
      'claude-opus-4-1',
      { temperature: 1, topP: 0.3 },
      { top_p: 0.3 },
      [],
    ],
    ['top_p alone', 'claude-haiku-4-5', { topP: 0.3 }, { top_p: 0.3 }, []],
    ['the usual values', 'claude-opus-4-7', { temperature: 1, topP: 1 }, {}, []],
    [
      'anything',
      'claude-opus-4-7',
      { temperature: 0, topP: 0.5, topK: 3 },
      {},
      ['lossy temperature', 'lossy top_k', 'lossy top_p'],
    ],
    ['anything', 'claude-haiku-5-5', { temperature: 0.5 }, {}, ['lossy temperature']],
    ['anything', 'some-claude-model', { temperature: 0.5 }, {}, ['lossy temperature']],
    [
      'while thinking',
      'claude-sonnet-4-5',
      { temperature: 0.5, topP: 0.97, topK: 3, reasoning: { effort: 'low' } },
      { top_p: 0.97 },
      ['lossy temperature', 'lossy top_k'],
    ],
    [
      'a narrow top_p while thinking',
      'claude-sonnet-4-5',
      { topP: 0.5, reasoning: { effort: 'low' } },
      {},
      ['lossy top_p'],
    ],
    [
      'top_k as an option',
      'claude-sonnet-4-5',
      { providerOptions: { top_k: 4 } },
      { top_k: 4 },
      [],
    ],
  ])('%s (%s)', (_, model, request, written, noted) => {
    const { temperature, top_p, top_k } = body({ maxOutputTokens: 20_000, ...request }, { model })
    expect({ temperature, top_p, top_k }).toEqual({
      temperature: undefined,
      top_p: undefined,
      top_k: undefined,
      ...written,
    })
    expect(changes(request, { model })).toEqual(noted)
  })
})

function loop(content: AssistantPart[], callId = 'a'): Message[] {
  return [user('x'), { role: 'assistant', content }, result(callId, '1')]
}

function said(text: string): Message {
  return { role: 'assistant', content: [{ type: 'text', text }] }
}
