import type { Bench, Exchange } from './bench.ts'
import { jsonOf } from './bench.ts'
import type { Findings, Kind } from './explained.ts'
import {
  count,
  describe,
  differences,
  fields,
  isFields,
  objects,
  parsed,
  plain,
  plainObject,
  short,
  text,
} from './json.ts'
import type { Fields } from './json.ts'
import { partsOf, prefixed } from './openai-wire.ts'
import {
  checkEntry,
  checkEnvelope,
  checkError,
  checkHead,
  checkLostEntry,
  checkRefusal,
  declares,
  readChanges,
} from './outcome.ts'
import type { Reported } from './outcome.ts'
import { assemble, readAnswer } from './reading.ts'
import type { Reading } from './reading.ts'
import type { RecordedFrame, Recording } from './recordings.ts'
import type { SchemaName, Schemas } from './schemas.ts'
import type { Received } from './stand-in.ts'

/** A provider's own wire, as the harness itself reads and writes it. */
export interface NativeWire {
  /** The body as it would be in the wire's one spelling, without what OpenAI's cannot say. */
  sayable(recording: Recording, unsaid: Set<Kind>): Fields
  /** The same as a request to `/v1/chat/completions`. */
  toOpenAI(body: Fields, recording: Recording): Fields
  /** The form in which two requests that mean the same are equal. */
  canonical(body: Fields): Fields
  /** By member of that form, the caller's fields that a change of it may be declared under. */
  readonly members: Readonly<Record<string, readonly string[]>>
  /** Paths the request may go to. */
  readonly path: (recording: Recording) => string
  readonly schema: (sent: Received) => SchemaName
  /** What the recorded answer says; undefined where it breaks off. */
  readAnswer(recording: Recording, explained: Set<Kind>): NativeAnswer | undefined
  /** Where the end of a stream begins. */
  isEnd(frame: RecordedFrame): boolean
  isError(frame: RecordedFrame): boolean
}

export interface NativeAnswer {
  readonly reading: Reading
  /** Absent where the provider counted nothing. */
  readonly reported?: Reported
}

/** Replays a chat of a provider that has to be translated for. */
export async function replayTranslated(
  bench: Bench,
  wire: NativeWire,
  recording: Recording,
  schemas: Schemas,
  findings: Findings,
): Promise<void> {
  const { response } = recording
  const native = wire.sayable(recording, findings.explained)
  const asked = plainObject(wire.toOpenAI(native, recording))
  const exchange = await bench.ask('/v1/chat/completions', prefixed(asked, recording), {
    ...response,
    parts: partsOf(recording, (frame) => wire.isError(frame)),
  })
  if (checkRefusal(exchange, recording, asked, findings)) return
  checkHead(exchange, recording, findings)
  const [sent] = exchange.received
  const body = fields(sent?.body)
  findings.failures.push(
    ...(sent === undefined ? [] : schemas.faults(wire.schema(sent), body)).map(
      (fault) => `request: ${fault}`,
    ),
  )
  if (sent?.path !== wire.path(recording)) findings.failures.push(`request: sent to ${sent?.path}`)
  if (response.status >= 400) {
    checkError(exchange, recording, findings)
    return
  }
  if (exchange.status === 200) checkSent(exchange, wire, native, body, findings)
  const expected = wire.readAnswer(recording, findings.explained)
  if (response.frames === undefined) checkWhole(exchange, recording, expected, schemas, findings)
  else checkStream(exchange, recording, expected, schemas, findings)
}

/** Replays a stream that breaks off before its end. */
export async function replayCut(
  bench: Bench,
  wire: NativeWire,
  recording: Recording,
  findings: Findings,
): Promise<void> {
  const asked = plainObject(wire.toOpenAI(wire.sayable(recording, new Set()), recording))
  const frames = recording.response.frames ?? []
  const last = frames.findIndex((frame) => wire.isError(frame) || wire.isEnd(frame))
  const kept = frames.slice(0, last === -1 ? frames.length - 1 : last)
  const exchange = await bench.ask('/v1/chat/completions', prefixed(asked, recording), {
    ...recording.response,
    parts: [Buffer.concat(kept.map(({ bytes }) => bytes))],
  })
  if (checkRefusal(exchange, recording, asked, findings)) return
  checkBroken(exchange, recording, findings)
}

/** Every difference is one that the answer's header names. */
function checkSent(
  exchange: Exchange,
  wire: NativeWire,
  native: Fields,
  body: Fields,
  findings: Findings,
): void {
  const changes = readChanges(exchange, findings)
  const expected = plain(wire.canonical(native))
  const found = differences(expected, plain(wire.canonical(body)))
  const differing = found.flatMap(({ path }) => wire.members[/^\w+/.exec(path)?.[0] ?? ''] ?? [])
  for (const difference of found) {
    const member = /^\w+/.exec(difference.path)?.[0] ?? ''
    if (declares(changes, ...(wire.members[member] ?? []))) findings.explained.add('declared')
    else findings.failures.push(`request: ${describe(difference)}`)
  }
  for (const change of changes) {
    if (change.kind === 'lossy' && !declares([change], ...differing)) {
      findings.failures.push(`request: ${change.field} is said to be lost, and is not`)
    }
  }
}

function checkWhole(
  exchange: Exchange,
  recording: Recording,
  expected: NativeAnswer | undefined,
  schemas: Schemas,
  findings: Findings,
): void {
  const { failures } = findings
  const answer = jsonOf(exchange)
  if (expected === undefined) {
    checkError(exchange, recording, findings, [400, 404, 429, 502, 503, 504])
    return
  }
  if (exchange.status !== 200) {
    failures.push(`answer: ${exchange.status} ${short(answer)}`)
    return
  }
  const judged = withoutGivingUp(fields(answer), findings)
  failures.push(...schemas.faults('openai-answer', judged).map((fault) => `answer: ${fault}`))
  compare(readAnswer(answer), expected.reading, failures)
  checkUsage(fields(answer)['usage'], expected.reported, failures)
  checkEntry(exchange, recording, expected.reported, findings)
}

function checkStream(
  exchange: Exchange,
  recording: Recording,
  expected: NativeAnswer | undefined,
  schemas: Schemas,
  findings: Findings,
): void {
  const { failures } = findings
  if (expected === undefined) {
    checkBroken(exchange, recording, findings)
    return
  }
  if (exchange.status !== 200) {
    failures.push(`answer: ${exchange.status} ${short(jsonOf(exchange))}`)
    return
  }
  const { answer, chunks, violations } = assemble(exchange.body)
  failures.push(...[...new Set(violations)].map((violation) => `stream: ${violation}`))
  const faults = chunks.flatMap((chunk) =>
    schemas.faults('openai-chunk', withoutGivingUp(fields(chunk), findings)),
  )
  failures.push(...[...new Set(faults)].slice(0, 3).map((fault) => `answer: ${fault}`))
  compare(readAnswer(answer), expected.reading, failures)
  checkUsage(answer['usage'], expected.reported, failures)
  checkEntry(exchange, recording, expected.reported, findings)
}

/** The answer with a finish that OpenAI's schema knows, where ours is the one it lacks. */
function withoutGivingUp(answer: Fields, { explained }: Findings): Fields {
  const choices = objects(answer['choices'])
  if (choices.every((choice) => choice['finish_reason'] !== 'error')) return answer
  explained.add('given-up')
  return {
    ...answer,
    choices: choices.map((choice) =>
      choice['finish_reason'] === 'error' ? { ...choice, finish_reason: 'stop' } : choice,
    ),
  }
}

/** An id that the provider did not give may be any, but not one that another call has. */
function compare(found: Reading, expected: Reading, failures: string[]): void {
  const calls = found.choices.flatMap((choice) => choice.calls)
  const ids = new Set(calls.map(({ id }) => id))
  if (ids.size !== calls.length || ids.has(''))
    failures.push('answer: tool call ids are not unique')
  const given: Reading = {
    ...found,
    model: expected.model === '' ? '' : found.model,
    choices: found.choices.map((choice, at) => ({
      ...choice,
      calls: choice.calls.map((call, index) =>
        expected.choices[at]?.calls[index]?.id === '' ? { ...call, id: '' } : call,
      ),
    })),
  }
  for (const difference of differences(plain(expected), plain(given))) {
    failures.push(`answer: ${describe(difference)}`)
  }
}

/** What the caller is told of usage adds up, and to what the provider told. */
function checkUsage(usage: unknown, reported: Reported | undefined, failures: string[]): void {
  if (reported === undefined) return
  if (!isFields(usage)) {
    failures.push('usage: none')
    return
  }
  const found = {
    prompt: count(usage['prompt_tokens']),
    completion: count(usage['completion_tokens']),
    total: count(usage['total_tokens']),
    cached: fields(usage['prompt_tokens_details'])['cached_tokens'],
    reasoning: fields(usage['completion_tokens_details'])['reasoning_tokens'],
  }
  const { cached = found.cached, reasoning = found.reasoning } = reported
  for (const difference of differences({ ...reported, cached, reasoning }, found)) {
    failures.push(`usage: ${describe(difference)}`)
  }
}

/** A stream that did not come to its end: an error last, and no end marker. */
function checkBroken(exchange: Exchange, recording: Recording, findings: Findings): void {
  checkLostEntry(exchange, findings)
  if (exchange.status !== 200) {
    checkEnvelope(jsonOf(exchange), exchange, recording, findings)
    return
  }
  const { failures } = findings
  const written = exchange.body.toString('utf8')
  if (written.includes('[DONE]')) failures.push('cut: ends as if it were whole')
  const last = /(?:^|\n\n)data: (.*)\n\n$/.exec(written)?.[1] ?? ''
  checkEnvelope(parsed(last), exchange, recording, findings)
  const finished = written
    .split('\n\n')
    .some((event) =>
      objects(fields(plainOrNull(event))['choices']).some(
        (choice) => text(choice['finish_reason']) !== '',
      ),
    )
  if (finished) failures.push('cut: has a finish reason')
}

function plainOrNull(event: string): unknown {
  try {
    return JSON.parse(event.replace(/^data: /, ''))
  } catch {
    return null
  }
}
