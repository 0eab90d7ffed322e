import { describe, expect, it } from 'vitest'
import type { ProviderError } from '#protocol'
import { google } from '../../providers/google/index.ts'
import { target } from './google-fixtures.ts'

const TYPE = 'type.googleapis.com/google.rpc.'
const retryInfo = (retryDelay: string) => ({ '@type': `${TYPE}RetryInfo`, retryDelay })
const quota = (quotaId: string) => ({ '@type': `${TYPE}QuotaFailure`, violations: [{ quotaId }] })

describe('an error of Gemini', () => {
  it.each<[string, number, object, Partial<ProviderError>]>([
    [
      'a bad key',
      400,
      error('INVALID_ARGUMENT', 'x', [{ '@type': `${TYPE}ErrorInfo`, reason: 'API_KEY_INVALID' }]),
      { kind: 'authentication' },
    ],
    [
      'an expired key',
      400,
      error('INVALID_ARGUMENT', 'API key expired. Please renew the API key.'),
      { kind: 'authentication' },
    ],
    ['no key', 401, error('UNAUTHENTICATED', 'x'), { kind: 'authentication' }],
    ['a forbidden model', 403, error('PERMISSION_DENIED', 'x'), { kind: 'permission' }],
    [
      'a forbidden country',
      400,
      error('FAILED_PRECONDITION', 'User location is not supported for the API use.'),
      { kind: 'permission' },
    ],
    [
      'an unknown model',
      404,
      error('NOT_FOUND', 'models/x is not found'),
      { kind: 'not_found', code: 'NOT_FOUND' },
    ],
    [
      'a prompt too long',
      400,
      error(
        'INVALID_ARGUMENT',
        'The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).',
      ),
      { kind: 'context_length' },
    ],
    [
      'a bad field',
      400,
      error('INVALID_ARGUMENT', 'x', [
        { fieldViolations: [{ field: 'generation_config.temperature' }] },
      ]),
      { kind: 'invalid_request', param: 'generation_config.temperature' },
    ],
    [
      'a minute’s quota',
      429,
      error('RESOURCE_EXHAUSTED', 'x', [quota('RequestsPerMinutePerModel'), retryInfo('34.4s')]),
      { kind: 'rate_limit', retryAfterMs: 34_400 },
    ],
    [
      'a delay in words',
      429,
      error('RESOURCE_EXHAUSTED', 'Please retry in 48.9s.'),
      { kind: 'rate_limit', retryAfterMs: 48_900 },
    ],
    ['no word on when', 429, error('RESOURCE_EXHAUSTED', 'x'), { kind: 'rate_limit' }],
    ['overload', 503, error('UNAVAILABLE', 'The model is overloaded.'), { kind: 'overloaded' }],
    ['a failure', 500, error('INTERNAL', 'x'), { kind: 'server' }],
    ['a timeout', 504, error('DEADLINE_EXCEEDED', 'x'), { kind: 'timeout' }],
  ])('says %s', (_, status, body, read) => {
    expect(readError(status, body)).toMatchObject(read)
  })

  it('is no matter of seconds when the day’s quota is spent', () => {
    const body = error('RESOURCE_EXHAUSTED', 'x', [
      quota('GenerateRequestsPerDayPerProjectPerModel-FreeTier'),
      retryInfo('31s'),
    ])
    expect(readError(429, body)).toEqual({
      kind: 'quota',
      message: 'x',
      code: 'RESOURCE_EXHAUSTED',
      retryable: false,
    })
  })

  it('comes within an array where the stream is one', () => {
    const body = [error('INVALID_ARGUMENT', 'Function call is missing a thought_signature')]
    expect(readError(400, body)).toMatchObject({
      kind: 'invalid_request',
      message: 'Function call is missing a thought_signature',
    })
  })

  it.each<[number, ProviderError['kind']]>([
    [401, 'authentication'],
    [403, 'permission'],
    [404, 'not_found'],
    [413, 'invalid_request'],
    [429, 'rate_limit'],
    [502, 'server'],
    [503, 'overloaded'],
  ])('is told by the status %i where a proxy answers', (status, kind) => {
    expect(google.readError(status, { 'retry-after': '2' }, '<html>')).toEqual({
      kind,
      message: `google answered ${status}`,
      retryAfterMs: 2000,
    })
  })

  it.each([
    'null',
    '7',
    '[]',
    '{"error":null}',
    '{"error":{"details":[null,7],"message":7}}',
    '{"error":"x"}',
  ])('never throws on %s', (text) => {
    expect(google.readError(500, {}, text).kind).toBe('server')
  })
})

describe('the models of Gemini', () => {
  it('are asked for in one page', () => {
    expect(google.models!(target())).toMatchObject({
      method: 'GET',
      url: 'https://google.test/v1beta/models?pageSize=1000',
      headers: { 'x-goog-api-key': 'secret' },
    })
  })

  it('are named without their collection', () => {
    const body = {
      models: [{ name: 'models/gemini-2.5-pro' }, {}, null, { name: 'tunedModels/a' }],
    }
    expect(google.readModels!(body)).toEqual(['gemini-2.5-pro', 'tunedModels/a'])
    expect(google.readModels!(null)).toEqual([])
  })
})

function error(status: string, message: string, details?: object[]) {
  return { error: { code: 400, status, message, ...(details && { details }) } }
}

function readError(status: number, body: unknown) {
  return google.readError(status, {}, JSON.stringify(body))
}
