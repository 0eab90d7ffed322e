import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { AdminReply, TestGateway } from '../gateway.ts'
import { call, HELLO } from './caller.ts'

let gateway: TestGateway

const SIMULATOR = { input: '0.0000001', output: '0.0000004' }

beforeAll(async () => {
  gateway = await openGateway({
    providers: {
      openai: { kind: 'openai', api_key: 'sk-upstream' },
      local: {
        kind: 'openai',
        api_key: 'sk-upstream',
        base_url: 'https://llm.example/v1',
        models: ['tuned'],
        prices: { '*': { input: '100', output: '0.1' } },
      },
    },
    models: {
      fast: { targets: [{ model: 'simulator/thinker' }] },
      quick: { targets: [{ model: 'simulator/thinker' }], fallbacks: ['simulator/chat'] },
      big: { targets: [{ model: 'openai/gpt-5-mini' }], fallbacks: ['openai/gpt-4.1'] },
      mixed: { targets: [{ model: 'openai/gpt-5-mini' }], fallbacks: ['local/tuned'] },
      unpriced: { targets: [{ model: 'openai/gpt-5-minni' }] },
    },
  })
})
afterAll(() => gateway.close())

async function row(id: string): Promise<AdminReply['body']> {
  const path = `/v1/models/${id}`
  const { status, body } = await call(gateway.dataUrl, '', {
    key: gateway.key,
    path,
    method: 'GET',
  })
  expect(status, JSON.stringify(body)).toBe(200)
  return body
}

describe('a model of the simulator', () => {
  it('that makes vectors does not claim to chat', async () => {
    expect(await row('simulator/embed')).toMatchObject({
      architecture: { input_modalities: ['text'], output_modalities: ['embeddings'] },
      supported_parameters: ['dimensions', 'encoding_format'],
      supported_endpoints: ['/v1/embeddings'],
    })
  })

  it('that chats takes images', async () => {
    expect(await row('simulator/chat')).toMatchObject({
      architecture: { input_modalities: ['text', 'image'], output_modalities: ['text'] },
      pricing: { prompt: SIMULATOR.input, completion: SIMULATOR.output },
      supported_endpoints: ['/v1/chat/completions'],
    })
  })

  it('reasons where it is one that does', async () => {
    expect((await row('simulator/thinker')).supported_parameters).toContain('reasoning_effort')
    expect((await row('simulator/chat')).supported_parameters).not.toContain('reasoning_effort')
  })

  it('names the routes that lead to it first', async () => {
    expect((await row('simulator/thinker')).tollgate).toEqual({
      kind: 'model',
      aliases: ['fast', 'quick'],
    })
    expect((await row('simulator/chat')).tollgate.aliases).toEqual([])
  })
})

describe('a route', () => {
  it('promises what all that it leads to can hold', async () => {
    expect((await row('fast')).supported_parameters).toContain('reasoning_effort')
    expect((await row('quick')).supported_parameters).not.toContain('reasoning_effort')
    const [big, mini, other] = await Promise.all(
      ['big', 'openai/gpt-5-mini', 'openai/gpt-4.1'].map(row),
    )
    expect(big.context_length).toBe(Math.min(mini.context_length, other.context_length))
    expect(big.top_provider.max_completion_tokens).toBe(other.top_provider.max_completion_tokens)
  })

  it('says nothing of a limit that one of them does not tell', async () => {
    expect((await row('mixed')).context_length).toBeNull()
  })

  it('costs the most that one of them costs', async () => {
    const [mixed, mini] = [await row('mixed'), await row('openai/gpt-5-mini')]
    expect(mixed.pricing.prompt).toBe('0.0001')
    expect(mixed.pricing.completion).toBe(mini.pricing.completion)
    const { body } = await gateway.admin('GET', '/admin/v1/models')
    const view = body.data.find(({ id }: { readonly id: string }) => id === 'mixed')
    expect(view).toMatchObject({ context_tokens: null, price: { input: '100' } })
  })

  it('without a price has none in the list', async () => {
    expect((await row('unpriced')).pricing).toBeNull()
  })
})

describe('a model without a price', () => {
  it.each([
    ['openai/gpt-5-minni', 'did you mean "openai/gpt-5-mini"?'],
    ['unpriced', 'did you mean "openai/gpt-5-mini"?'],
    ['openai/zzzzzzzzzzzzzzz', 'check the name, set one with `tollgate prices set`'],
  ])('is refused as %s, with the name it may be meant to have', async (model, hint) => {
    const asked = { model, messages: HELLO }
    const { status, body } = await call(gateway.dataUrl, asked, { key: gateway.key })
    expect([status, body.error.code]).toEqual([400, 'unpriced_model'])
    expect(body.error.message).toContain(hint)
  })
})
