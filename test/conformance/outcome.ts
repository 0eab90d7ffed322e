import { credentialOf, jsonOf } from './bench.ts'
import type { Exchange } from './bench.ts'
import type { Findings } from './explained.ts'
import { count, fields, isFields, objects, short, text } from './json.ts'
import type { Fields } from './json.ts'
import type { RecordedResponse, Recording } from './recordings.ts'

/** A change that the gateway says it made. */
export interface DeclaredChange {
  /** The caller's field, by path. */
  readonly field: string
  readonly kind: 'adapted' | 'lossy'
}

/** Checks that the header of the changes is of one piece, and reads it. */
export function readChanges({ headers }: Exchange, findings: Findings): readonly DeclaredChange[] {
  const verdict = headers.get('x-tollgate-translation')
  const written = headers.get('x-tollgate-translation-changes') ?? ''
  const changes = [...written.matchAll(/([^;,\s][^;,]*);(adapted|lossy);"[^"]*"/g)].map(
    ([, field = '', kind]): DeclaredChange => ({
      field,
      kind: kind === 'lossy' ? 'lossy' : 'adapted',
    }),
  )
  const due =
    changes.length === 0
      ? 'exact'
      : changes.some(({ kind }) => kind === 'lossy')
        ? 'lossy'
        : 'adapted'
  if (verdict !== due) {
    findings.failures.push(`x-tollgate-translation is ${verdict}, its changes are ${due}`)
  }
  return changes
}

/** Whether one of the changes is about this member of the caller's request, or about a part of it. */
export function declares(changes: readonly DeclaredChange[], ...members: string[]): boolean {
  return changes.some(({ field }) =>
    members.some(
      (member) =>
        field === member || (/^[.[]/.test(field.slice(member.length)) && field.startsWith(member)),
    ),
  )
}

/** Statuses a caller may be given for a status of the provider. */
function statusesFor(status: number): readonly number[] {
  if (status === 401 || status === 403 || status === 402) return [502]
  if (status === 404) return [404]
  if (status === 408) return [504]
  if (status === 429) return [429, 502]
  // A model's own bad call comes back as 400 from some; asked again it may be good.
  if (status < 500) return [400, 404, 502]
  return [502, 503, 504]
}

const TOO_LONG = /context (length|size|window)|prompt is too long|too many tokens/i

/** Codes that tell a caller what to do about it; any where nothing particular is to be done. */
function codesFor({ status, body }: RecordedResponse): readonly string[] | undefined {
  if (status === 401 || status === 403) return ['upstream_rejected']
  if (status === 404) return ['model_not_found']
  if (status === 429) return ['upstream_rate_limited', 'upstream_rejected', 'upstream_error']
  if (status === 400 && TOO_LONG.test(String(body))) return ['context_length_exceeded']
  return undefined
}

/** An error in our envelope that tells no secret. */
export function checkError(
  exchange: Exchange,
  recording: Recording,
  findings: Findings,
  statuses = statusesFor(recording.response.status),
): void {
  const { failures } = findings
  if (!statuses.includes(exchange.status)) {
    failures.push(`error: status ${exchange.status}, expected ${statuses.join(' or ')}`)
  }
  const body = jsonOf(exchange)
  const code = text(fields(fields(body)['error'])['code'])
  const codes = codesFor(recording.response)
  if (codes?.includes(code) === false) {
    failures.push(`error: code ${code}, expected ${codes.join(' or ')}`)
  }
  checkEnvelope(body, exchange, recording, findings)
  checkLostEntry(exchange, findings)
  const entry = exchange.entries[0]
  const isRefused = recording.response.status >= 400
  if (isRefused && entry !== undefined && text(entry['usage_source']) !== 'none') {
    failures.push(`ledger: usage of a refused request is ${short(entry['usage_source'])}`)
  }
}

export function checkEnvelope(
  body: unknown,
  exchange: Exchange,
  recording: Recording,
  { failures }: Findings,
): void {
  const error = fields(fields(body)['error'])
  for (const member of ['message', 'type', 'code', 'request_id']) {
    if (text(error[member]) === '') failures.push(`error: no ${member} in ${short(body)}`)
  }
  if (!('param' in error)) failures.push('error: no param')
  if (error['request_id'] !== exchange.headers.get('x-request-id')) {
    failures.push('error: the request id is another than the header says')
  }
  const told = JSON.stringify(body)
  if (told.includes(credentialOf(recording.provider))) failures.push('error: tells the credential')
  const { status, json } = recording.response
  if (status === 401 || status === 403) {
    // What a provider says of a credential may hold a piece of it.
    const said = text(fields(fields(json)['error'])['message'])
    if (said !== '' && told.includes(said)) failures.push('error: tells what was said of the key')
  }
}

/** The entry of an attempt that failed. */
export function checkLostEntry({ entries }: Exchange, { failures }: Findings): void {
  const [entry, ...more] = entries
  if (entry === undefined) failures.push('ledger: no entry')
  else if (more.length > 0) failures.push(`ledger: ${entries.length} entries for one attempt`)
  else if (!/^(error|timeout)$/.test(text(entry['outcome'])) || text(entry['error_code']) === '') {
    failures.push(`ledger: a failure is entered as ${short(entry['outcome'])}`)
  } else if (entry['cost_usd'] === null) failures.push('ledger: a failure has no cost, not even 0')
}

/** Tokens a provider reports, as a reader of its own page would add them up. */
export interface Reported {
  readonly prompt: number
  readonly completion: number
  readonly total: number
  /** Part of the prompt, where it was said. */
  readonly cached?: number
  /** Part of the completion, where it was said. */
  readonly reasoning?: number
}

const INPUT = ['input', 'cacheRead', 'cacheWrite5m', 'cacheWrite1h', 'inputAudio', 'inputImage']
const OUTPUT = ['output', 'reasoning', 'outputAudio', 'outputImage']

/** The entry of an answer that came whole: its buckets add up to what the provider reported. */
export function checkEntry(
  exchange: Exchange,
  recording: Recording,
  reported: Reported | undefined,
  { failures }: Findings,
): void {
  const [entry, ...more] = exchange.entries
  if (entry === undefined || more.length > 0) {
    failures.push(`ledger: ${exchange.entries.length} entries for one attempt`)
    return
  }
  const fail = (what: string): void => void failures.push(`ledger: ${what}`)
  if (entry['outcome'] !== 'ok') fail(`the outcome is ${short(entry['outcome'])}`)
  if (entry['provider'] !== recording.provider) fail(`the provider is ${short(entry['provider'])}`)
  if (text(entry['cost_usd']) === '') fail('there is no cost')
  const usage = fields(entry['usage'])
  if (reported === undefined) {
    if (entry['usage_source'] !== 'estimated') {
      fail(`usage that was not reported is from ${short(entry['usage_source'])}`)
    }
    return
  }
  if (entry['usage_source'] !== 'provider') fail(`usage is from ${short(entry['usage_source'])}`)
  const input = sum(usage, INPUT)
  const output = sum(usage, OUTPUT)
  if (input + output !== reported.total) {
    fail(`the buckets add up to ${input + output}, the provider says ${reported.total}`)
  }
  if (input !== reported.prompt) fail(`input is ${input}, the provider says ${reported.prompt}`)
  if (output !== reported.completion) {
    fail(`output is ${output}, the provider says ${reported.completion}`)
  }
  for (const [bucket, said] of [
    ['cacheRead', reported.cached],
    ['reasoning', reported.reasoning],
  ] as const) {
    if (said !== undefined && count(usage[bucket]) !== said) {
      fail(`${bucket} is ${count(usage[bucket])}, the provider says ${said}`)
    }
  }
}

function sum(usage: Fields, buckets: readonly string[]): number {
  return buckets.reduce((total, bucket) => total + count(usage[bucket]), 0)
}

/** What the provider was sent besides the body: once, with its credential, and with nobody else's. */
export function checkHead(exchange: Exchange, recording: Recording, { failures }: Findings): void {
  const { received } = exchange
  if (received.length !== 1) failures.push(`the provider was asked ${received.length} times`)
  const [sent] = received
  if (sent === undefined) return
  const credential = credentialOf(recording.provider)
  const holders = ['authorization', 'x-api-key', 'x-goog-api-key'].filter((name) => {
    const value = sent.headers[name]
    return typeof value === 'string' && value.endsWith(credential)
  })
  if (holders.length !== 1) failures.push(`credential in ${holders.length} headers`)
  if (JSON.stringify(sent.headers).includes('sk-tg-')) {
    failures.push("the provider was sent the caller's key")
  }
  // Some declare a path from the host's root, past the base address.
  const isPlaced = sent.path.startsWith(`/${recording.provider}/`) || sent.path.startsWith('/v1/')
  if (!isPlaced) failures.push(`sent to ${sent.path}`)
}

/**
 * What became of a request that the gateway refused by itself.
 *
 * @returns whether it did
 */
export function checkRefusal(
  exchange: Exchange,
  recording: Recording,
  asked: Fields,
  findings: Findings,
): boolean {
  if (exchange.received.length > 0) return false
  const error = fields(fields(jsonOf(exchange))['error'])
  const { status } = recording.response
  // The provider did not want it either.
  if (status >= 400 && status < 500 && exchange.status >= 400 && exchange.status < 500) return true
  if (error['code'] === 'unsupported_feature' && isFields(error) && text(error['param']) !== '') {
    findings.explained.add('refused')
  } else if (error['code'] === 'invalid_value' && isUnpaired(asked)) {
    findings.explained.add('unpaired')
  } else {
    findings.failures.push(`the gateway refused: ${exchange.status} ${short(error)}`)
  }
  return true
}

/** Whether a tool's result stands in the conversation without the call it answers. */
function isUnpaired({ messages }: Fields): boolean {
  const made = new Set<unknown>()
  return objects(messages).some((message) => {
    for (const { id } of objects(message['tool_calls'])) made.add(id)
    return message['role'] === 'tool' && !made.has(message['tool_call_id'])
  })
}
