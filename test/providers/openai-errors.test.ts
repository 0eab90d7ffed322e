import { describe, expect, it } from 'vitest'
import type { ProviderError, UpstreamHeaders } from '#protocol'
import {
  readDuration,
  readError,
  readRetryAfter,
} from '../../providers/openai-compatible/errors.ts'

interface Case {
  readonly what: string
  readonly status: number
  readonly body: unknown
  readonly headers?: UpstreamHeaders
  readonly says: Partial<ProviderError>
}

const cases: readonly Case[] = [
  {
    what: "OpenAI's envelope",
    status: 400,
    body: { error: { message: 'No.', type: 'invalid_request_error', param: 'stop', code: 'bad' } },
    says: { kind: 'invalid_request', message: 'No.', code: 'bad', param: 'stop' },
  },
  {
    what: 'a text as error (xAI)',
    status: 400,
    body: { code: 'invalid-argument', error: 'Incorrect API key provided.' },
    says: { kind: 'authentication', message: 'Incorrect API key provided.' },
  },
  {
    what: 'a list of errors',
    status: 429,
    body: [{ error: { code: 429, message: 'Resource exhausted.' } }],
    says: { kind: 'rate_limit', message: 'Resource exhausted.' },
  },
  {
    what: 'a typed error beside its type',
    status: 529,
    body: { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } },
    says: { kind: 'overloaded', message: 'Overloaded', code: 'overloaded_error' },
  },
  {
    what: 'a bare message',
    status: 429,
    body: { message: 'Requests rate limit exceeded' },
    says: { kind: 'rate_limit', message: 'Requests rate limit exceeded' },
  },
  {
    what: 'a detail as text',
    status: 401,
    body: { detail: 'Invalid API Key' },
    says: { kind: 'authentication', message: 'Invalid API Key' },
  },
  {
    what: 'a detail as a list of faults',
    status: 422,
    body: { detail: [{ loc: ['body', 'n'], msg: 'too many', type: 'value_error' }] },
    says: { kind: 'invalid_request', message: 'body.n: too many', param: 'body.n' },
  },
  {
    what: 'a flat object (old vLLM)',
    status: 400,
    body: {
      object: 'error',
      message: "This model's maximum context length is 131072 tokens.",
      type: 'BadRequestError',
      code: 400,
    },
    says: { kind: 'context_length', code: 'BadRequestError' },
  },
  {
    what: 'an error type beside the message (Cohere)',
    status: 400,
    body: { id: 'x', message: 'too many tokens', error_type: 'TOO_MANY_TOKENS' },
    says: { kind: 'context_length' },
  },
  {
    what: "another provider's words inside (OpenRouter)",
    status: 429,
    body: {
      error: {
        code: 429,
        message: 'Provider returned error',
        metadata: { raw: 'temporarily full' },
      },
    },
    says: { kind: 'rate_limit', message: 'Provider returned error: temporarily full' },
  },
  {
    what: 'JSON inside a message',
    status: 400,
    body: { error: { message: '{"error":{"message":"the true words"}}' } },
    says: { kind: 'invalid_request', message: 'the true words' },
  },
  {
    what: 'a page of HTML',
    status: 502,
    body: '<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>',
    says: { kind: 'server', message: '502 Bad Gateway' },
  },
  {
    what: 'nothing at all',
    status: 500,
    body: '',
    says: { kind: 'server', message: 'The provider answered 500' },
  },
  {
    what: 'a spent account as never worth a retry',
    status: 429,
    body: { error: { message: 'You exceeded your current quota', code: 'insufficient_quota' } },
    headers: { 'retry-after': '20' },
    says: { kind: 'quota', retryable: false },
  },
  {
    what: 'an empty purse (DeepSeek)',
    status: 402,
    body: { error: { message: 'Insufficient Balance' } },
    says: { kind: 'quota', retryable: false },
  },
  {
    what: 'a prompt that is too long (llama.cpp)',
    status: 400,
    body: {
      error: {
        code: 400,
        message: 'the request exceeds the available context size.',
        type: 'exceed_context_size_error',
      },
    },
    says: { kind: 'context_length', code: 'exceed_context_size_error' },
  },
  {
    what: 'a prompt that is too long (Ollama cloud)',
    status: 400,
    body: { error: { message: 'prompt too long; exceeded max context length by 9 tokens' } },
    says: { kind: 'context_length' },
  },
  {
    what: 'a code for a prompt that is too long',
    status: 400,
    body: { error: { message: 'No.', code: 'context_length_exceeded' } },
    says: { kind: 'context_length' },
  },
  {
    what: 'a filter',
    status: 400,
    body: { error: { message: 'No.', code: 'content_filter' } },
    says: { kind: 'content_filter' },
  },
  {
    what: 'an unknown model under 400',
    status: 400,
    body: {
      error: { message: 'The model `x` has been decommissioned', code: 'model_decommissioned' },
    },
    says: { kind: 'not_found' },
  },
  {
    what: 'a call its own provider refuses (Groq): ask again',
    status: 400,
    body: { error: { message: 'Tool call validation failed', code: 'tool_use_failed' } },
    says: { kind: 'server', retryable: true },
  },
  {
    what: 'a size over the tokens per minute (Groq) as a limit, not a length',
    status: 413,
    body: {
      error: { message: 'Request too large on tokens per minute', code: 'rate_limit_exceeded' },
    },
    says: { kind: 'rate_limit' },
  },
  {
    what: 'a lack of capacity under 429',
    status: 429,
    body: { error: { message: 'The engine is busy', type: 'engine_overloaded_error' } },
    says: { kind: 'overloaded' },
  },
  {
    what: 'the word on retrying',
    status: 500,
    body: '',
    headers: { 'x-should-retry': 'false' },
    says: { kind: 'server', retryable: false },
  },
  {
    what: 'a time-out of the gateway before it',
    status: 504,
    body: 'upstream request timeout',
    says: { kind: 'timeout', message: 'upstream request timeout' },
  },
  { what: 'a full tier (Groq)', status: 498, body: '', says: { kind: 'overloaded' } },
  { what: 'a refusal of rights', status: 403, body: { error: 'no' }, says: { kind: 'permission' } },
]

describe('an error of the OpenAI wire', () => {
  for (const { what, status, body, headers, says } of cases) {
    it(`is read from ${what}`, () => {
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      expect(readError(status, headers ?? {}, text)).toMatchObject(says)
    })
  }

  it('is read from a body nested without end', () => {
    const body = `${'{"error":'.repeat(30_000)}1${'}'.repeat(30_000)}`
    expect(readError(400, {}, body).kind).toBe('invalid_request')
  })

  it('carries no wait where waiting is useless', () => {
    const body = JSON.stringify({ error: { code: 'insufficient_quota' } })
    expect(readError(429, { 'retry-after': '20' }, body).retryAfterMs).toBeUndefined()
  })

  for (const body of [
    '[[[[[[[[1]]]]]]]]',
    '{"error":{"error":{"error":{"error":{"error":1}}}}}',
    '"',
    'null',
    '\0',
  ]) {
    it(`is read from ${JSON.stringify(body)} without a throw`, () => {
      expect(readError(400, {}, body).message).not.toBe('')
    })
  }
})

describe('when to come back', () => {
  const waits: readonly [string, UpstreamHeaders, string, number | undefined][] = [
    ['retry-after in seconds', { 'retry-after': '2' }, '', 2000],
    ['retry-after-ms', { 'retry-after-ms': '150' }, '', 150],
    ['the longer of the two', { 'retry-after': '1', 'retry-after-ms': '0' }, '', 1000],
    [
      'a date, by the clock of the provider',
      { 'retry-after': 'Wed, 21 Oct 2026 07:28:30 GMT', date: 'Wed, 21 Oct 2026 07:28:00 GMT' },
      '',
      30_000,
    ],
    ['seconds in the text', {}, 'Limit 15000. Please try again in 5.289s. Visit', 5289],
    ['milliseconds in the text', {}, 'Please try again in 174ms. Visit', 174],
    ['minutes in the text', {}, 'Please try again in 7m12.5s.', 432_500],
    ['words in the text', {}, 'Please retry after 20 seconds.', 20_000],
    [
      'the reset of the limit that is used up',
      {
        'x-ratelimit-remaining-requests': '12',
        'x-ratelimit-reset-requests': '1s',
        'x-ratelimit-remaining-tokens': '0',
        'x-ratelimit-reset-tokens': '6m0s',
      },
      '',
      360_000,
    ],
    ['nothing where nothing is said', {}, 'Rate limit reached', undefined],
    ['nothing from nonsense', { 'retry-after': '-5', 'retry-after-ms': 'soon' }, '', undefined],
  ]
  for (const [what, headers, message, ms] of waits) {
    it(`is read from ${what}`, () => {
      expect(readRetryAfter(headers, message)).toBe(ms)
    })
  }

  it('is read from durations', () => {
    expect(['130ms', '6m0s', '1h2m3.5s', '12 s', 'soon'].map(readDuration)).toEqual([
      130,
      360_000,
      3_723_500,
      12_000,
      undefined,
    ])
  })
})
