import { type Entry, type Key, NO_USAGE, type SentAttempt } from '#protocol'

/** An entry of one request, different from every other by its number. */
export function sampleEntry(number: number, changes: Partial<Entry> = {}): Entry {
  const requestId = changes.requestId ?? `req_${String(number).padStart(8, '0')}`
  const attempt = changes.attempt ?? 1
  return {
    id: `${requestId}.${attempt}`,
    kind: 'attempt',
    requestId,
    attempt,
    tenantId: 'tenant_default',
    applicationId: 'app_default',
    keyId: `key_${number % 3}`,
    endpoint: '/v1/chat/completions',
    modelAsked: 'fast',
    provider: 'openai',
    model: 'gpt-5-mini',
    modelServed: 'gpt-5-mini-2025-08-07',
    admittedAt: Date.UTC(2026, 10, 23, 12) + number,
    startedAt: Date.UTC(2026, 10, 23, 12) + number + 1,
    durationMs: 120,
    firstEventMs: 40,
    stream: true,
    outcome: 'ok',
    finishReason: 'stop',
    endUser: 'ann',
    usage: { ...NO_USAGE, input: 100 + number, output: 10, reasoning: 3, reportedTotal: 113 },
    usageSource: 'provider',
    cost: 1_000_000_007n + BigInt(number),
    priceVersion: 'genai-prices@0.1.8:openai/gpt-5-mini',
    ...changes,
  }
}

/** What the ledger would say of it after a crash. */
export function sampleCrash(number: number, changes: Partial<Entry> = {}): Entry {
  const { modelServed: _, firstEventMs: __, finishReason: ___, ...entry } = sampleEntry(number)
  return {
    ...entry,
    durationMs: 0,
    outcome: 'crashed',
    usageSource: 'estimated',
    usage: { ...NO_USAGE, input: 500, output: 4096 },
    cost: 9_007_199_254_740_993n,
    priceVersion: 'bound',
    ...changes,
  }
}

/** The attempt of it, while it is under way. */
export function sampleSent(number: number, changes: Partial<Entry> = {}): SentAttempt {
  const entry = sampleCrash(number, changes)
  return { id: entry.id, asIfCrashed: () => entry }
}

export function sampleKey(number: number, changes: Partial<Key> = {}): Key {
  const name = String(number).padStart(4, '0')
  return {
    id: `key_${name}`,
    tenantId: 'tenant_default',
    applicationId: 'app_default',
    rootId: `key_${name}`,
    tags: [],
    name: `key ${number}`,
    prefix: `sk-tg-live-${name}`,
    last4: name,
    status: 'active',
    createdAt: 1_790_000_000_000 + number,
    models: ['*'],
    endpoints: ['*'],
    addresses: [],
    limits: {},
    strict: false,
    ...changes,
  }
}
