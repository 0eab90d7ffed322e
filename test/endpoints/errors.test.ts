import { describe, expect, it } from 'vitest'
import { GatewayError } from '#errors'
import type { ErrorCode, GatewayErrorOptions } from '#errors'
import { writeError, writeStreamError } from '../../src/endpoints/errors.ts'

describe('writeError', () => {
  it('writes OpenAI’s envelope with the request id', () => {
    const { body, headers } = write('invalid_value', { param: 'n', details: { a: 10n } })
    expect(JSON.parse(body)).toEqual({
      error: {
        message: 'No.',
        type: 'invalid_request_error',
        param: 'n',
        code: 'invalid_value',
        request_id: 'req_1',
        details: { a: '10' },
      },
    })
    expect(headers['content-type']).toBe('application/json; charset=utf-8')
  })

  it('has all members where there is nothing to say', () => {
    expect(JSON.parse(write('unavailable').body)).toEqual({
      error: {
        message: 'No.',
        type: 'server_error',
        param: null,
        code: 'unavailable',
        request_id: 'req_1',
      },
    })
  })

  it.each<readonly [string, ErrorCode, GatewayErrorOptions, object]>([
    [
      'a wait',
      'rate_limit_exceeded',
      { retryAfterMs: 1234.5 },
      { 'retry-after': '2', 'retry-after-ms': '1235' },
    ],
    [
      'no wait beyond a minute',
      'upstream_rate_limited',
      { retryAfterMs: 3_600_000 },
      { 'retry-after': '60', 'retry-after-ms': '60000' },
    ],
    ['nothing about a wait that is not known', 'upstream_error', {}, {}],
    ['that a retry is no use', 'invalid_value', {}, { 'x-should-retry': 'false' }],
    [
      'that a retry is no use in this case',
      'upstream_error',
      { retryable: false, retryAfterMs: 5 },
      { 'x-should-retry': 'false' },
    ],
    [
      'no wait for a spent budget',
      'insufficient_quota',
      { retryAfterMs: 5, retryable: true },
      { 'x-should-retry': 'false' },
    ],
  ])('tells %s', (_what, code, options, expected) => {
    const { 'content-type': _type, ...headers } = write(code, options).headers
    expect(headers).toEqual(expected)
  })
})

describe('writeStreamError', () => {
  it('writes one event and no end marker', () => {
    const event = writeStreamError(new GatewayError('upstream_timeout', 'Late.'), 'req_1')
    expect(event).toBe(
      'data: {"error":{"message":"Late.","type":"upstream_error","param":null,' +
        '"code":"upstream_timeout","request_id":"req_1"}}\n\n',
    )
  })
})

function write(code: ErrorCode, options: GatewayErrorOptions = {}): ReturnType<typeof writeError> {
  return writeError(new GatewayError(code, 'No.', options), 'req_1')
}
