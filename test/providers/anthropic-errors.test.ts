import { describe, expect, it } from 'vitest'
import { anthropic } from '../../providers/anthropic/index.ts'

describe('an Anthropic error', () => {
  it.each([
    [400, 'invalid_request_error', 'messages: bad', 'invalid_request'],
    [401, 'authentication_error', 'invalid x-api-key', 'authentication'],
    [402, 'billing_error', 'pay', 'quota'],
    [403, 'permission_error', 'no', 'permission'],
    [404, 'not_found_error', 'model: claude-sonet-4-5', 'not_found'],
    [413, 'request_too_large', 'too large', 'invalid_request'],
    [429, 'rate_limit_error', 'slow down', 'rate_limit'],
    [500, 'api_error', 'Internal server error', 'server'],
    [504, 'timeout_error', 'late', 'timeout'],
    [529, 'overloaded_error', 'Overloaded', 'overloaded'],
    [
      400,
      'invalid_request_error',
      'prompt is too long: 3333404 tokens > 200000 maximum',
      'context_length',
    ],
    [
      400,
      'invalid_request_error',
      'input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000',
      'context_length',
    ],
    [
      400,
      'invalid_request_error',
      'Your credit balance is too low to access the Anthropic API.',
      'quota',
    ],
    [400, 'invalid_request_error', 'Output blocked by content filtering policy', 'content_filter'],
  ])('of status %i and type %s is understood: %s', (status, type, message, kind) => {
    expect(
      read(status, { type: 'error', error: { type, message }, request_id: 'req_1' }),
    ).toMatchObject({
      kind,
      message,
      code: type,
    })
  })

  it('of a spent contract is a matter of money, whatever its type and headers say', () => {
    const error = {
      type: 'rate_limit_error',
      message: 'Limit',
      details: { error_code: 'contract_spend_limit_reached' },
    }
    expect(read(429, { type: 'error', error }, { 'x-should-retry': 'true' })).toMatchObject({
      kind: 'quota',
      code: 'contract_spend_limit_reached',
      retryable: false,
    })
  })

  it.each([
    ['true', true],
    ['false', false],
    [undefined, undefined],
  ])('obeys x-should-retry: %s', (said, retryable) => {
    expect(read(500, {}, { 'x-should-retry': said }).retryable).toBe(retryable)
  })

  it.each([
    ['16', 16_000],
    ['0.5', 500],
    ['Wed, 21 Oct 2026 07:28:00 GMT', undefined],
    [undefined, undefined],
  ])('with retry-after: %s says when to come back', (said, ms) => {
    expect(read(429, {}, { 'retry-after': said }).retryAfterMs).toBe(ms)
  })

  it('names the field where the message begins with one', () => {
    const error = {
      type: 'invalid_request_error',
      message: 'max_tokens: 99 > 10, which is the maximum',
    }
    expect(read(400, { error }).param).toBe('max_tokens')
  })

  it.each([
    [529, 'overloaded'],
    [503, 'overloaded'],
    [502, 'server'],
    [429, 'rate_limit'],
    [418, 'invalid_request'],
  ])('of status %i without a readable body is read by its status', (status, kind) => {
    for (const body of ['', '<html>', '{"error":', 'null', '{"error":7}', '[1]']) {
      expect(anthropic.readError(status, {}, body)).toMatchObject({
        kind,
        message: `Anthropic answered ${status}`,
      })
    }
  })
})

describe('an error of a proxy before Anthropic', () => {
  it.each(['{"error":"down"}', '{"message":"down"}', '{"detail":"down"}'])(
    'of %s is told',
    (body) => {
      expect(anthropic.readError(502, {}, body)).toMatchObject({ kind: 'server', message: 'down' })
    },
  )
})

describe('the list of models', () => {
  it('is asked for with the credential', () => {
    const target = {
      provider: 'claude',
      model: '',
      baseUrl: 'https://api.anthropic.com',
      credential: 'secret',
      headers: {},
    }
    expect(anthropic.models(target)).toEqual({
      method: 'GET',
      url: 'https://api.anthropic.com/v1/models?limit=1000',
      headers: {
        'content-type': 'application/json',
        'anthropic-version': '2023-06-01',
        'x-api-key': 'secret',
      },
    })
  })

  it('gives the names, and none for a body that has no list', () => {
    expect(
      anthropic.readModels({ data: [{ type: 'model', id: 'claude-opus-5' }, { id: 7 }, null] }),
    ).toEqual(['claude-opus-5'])
    expect(anthropic.readModels('<html>')).toEqual([])
  })
})

function read(status: number, body: unknown, headers: Record<string, string | undefined> = {}) {
  return anthropic.readError(status, headers, JSON.stringify(body))
}
