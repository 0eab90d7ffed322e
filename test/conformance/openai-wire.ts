import type { Bench, Exchange } from './bench.ts'
import { jsonOf } from './bench.ts'
import type { Findings } from './explained.ts'
import { describe, differences, fields, isFields, list, objects, parsed, short } from './json.ts'
import type { Fields } from './json.ts'
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
import type { DeclaredChange, Reported } from './outcome.ts'
import type { RecordedFrame, Recording } from './recordings.ts'

const END = 'data: [DONE]\n\n'

/** Replays a chat of a provider that speaks OpenAI's wire, where bytes are to pass through. */
export async function replayChat(
  bench: Bench,
  recording: Recording,
  findings: Findings,
): Promise<void> {
  const { response } = recording
  const asked = bodyOf(recording)
  const exchange = await bench.ask('/v1/chat/completions', prefixed(asked, recording), {
    ...response,
    parts: partsOf(recording, isError),
  })
  if (checkRefusal(exchange, recording, asked, findings)) return
  checkHead(exchange, recording, findings)
  if (response.status >= 400) {
    checkError(exchange, recording, findings)
    return
  }
  checkSent(exchange, asked, findings)
  if (response.frames === undefined) checkWhole(exchange, recording, findings)
  else checkStream(exchange, recording, response.frames, wantsUsage(asked), findings)
}

/** Replays a stream that breaks off before its end. */
export async function replayCutChat(
  bench: Bench,
  recording: Recording,
  findings: Findings,
): Promise<void> {
  const asked = bodyOf(recording)
  const frames = recording.response.frames ?? []
  const last = frames.findIndex((frame) => isError(frame) || isLast(frame))
  const kept = frames.slice(0, last === -1 ? frames.length - 1 : last)
  const exchange = await bench.ask('/v1/chat/completions', prefixed(asked, recording), {
    ...recording.response,
    parts: [Buffer.concat(kept.map(({ bytes }) => bytes))],
  })
  if (checkRefusal(exchange, recording, asked, findings)) return
  const passed = kept.filter((frame) => wantsUsage(asked) || !isUsage(frame))
  checkBroken(exchange, recording, passed, wantsUsage(asked), findings)
}

/** The recorded body, or the least that could have led to a recorded answer. */
export function bodyOf({ request, response }: Recording): Fields {
  if (request.body !== undefined) return request.body
  return {
    model: 'model-of-an-answer',
    messages: [{ role: 'user', content: 'Hello' }],
    ...(response.frames === undefined
      ? {}
      : { stream: true, stream_options: { include_usage: true } }),
  }
}

export function prefixed(body: Fields, { provider }: Recording): Fields {
  return { ...body, model: `${provider}/${String(body['model'])}` }
}

export function bytesOf({ response }: Recording): Buffer {
  const { body, frames } = response
  return body ?? Buffer.concat((frames ?? []).map(({ bytes }) => bytes))
}

/** The body in two parts where an error comes in its midst, so that what was said before is out. */
export function partsOf(
  recording: Recording,
  isErrorFrame: (frame: RecordedFrame) => boolean,
): readonly Buffer[] {
  const { body, frames = [] } = recording.response
  if (body !== undefined) return [body]
  const at = frames.findIndex(isErrorFrame)
  const parts = at > 0 ? [frames.slice(0, at), frames.slice(at)] : [frames]
  return parts.map((part) => Buffer.concat(part.map(({ bytes }) => bytes)))
}

function wantsUsage(body: Fields): boolean {
  return (
    fields(body['stream_options'])['include_usage'] === true ||
    fields(body['usage'])['include'] === true
  )
}

/** Usage is always asked for, so that it can be settled. */
function due(asked: Fields): Fields {
  if (asked['stream'] !== true) return asked
  return { ...asked, stream_options: { ...fields(asked['stream_options']), include_usage: true } }
}

function checkSent(exchange: Exchange, asked: Fields, findings: Findings): void {
  const changes = readChanges(exchange, findings)
  const [sent] = exchange.received
  if (sent?.path.endsWith('/chat/completions') !== true) {
    findings.failures.push(`request: sent to ${sent?.path}`)
  }
  const found = differences(due(asked), sent?.body)
  for (const difference of found) {
    const member = /^\w+/.exec(difference.path)?.[0] ?? ''
    if (isRenamedMaximum(member, asked, fields(sent?.body))) continue
    if (declaresEdit(changes, member)) findings.explained.add('declared')
    else findings.failures.push(`request: ${describe(difference)}`)
  }
}

function declaresEdit(changes: readonly DeclaredChange[], member: string): boolean {
  return member !== '' && declares(changes, member)
}

const MAXIMA = ['max_tokens', 'max_completion_tokens']

/** Two names of the same thing, of which a provider may know one. */
function isRenamedMaximum(member: string, asked: Fields, sent: Fields): boolean {
  if (!MAXIMA.includes(member)) return false
  const values = (body: Fields): unknown[] => MAXIMA.map((name) => body[name] ?? undefined)
  const [before] = values(asked).filter((value) => value !== undefined)
  const after = values(sent).filter((value) => value !== undefined)
  return after.length === 1 && after[0] === before
}

function checkWhole(exchange: Exchange, recording: Recording, findings: Findings): void {
  const { failures } = findings
  const { json } = recording.response
  if (isFields(json) && json['error'] && !Array.isArray(json['choices'])) {
    checkError(exchange, recording, findings, [400, 404, 429, 502, 503, 504])
    return
  }
  if (exchange.status !== 200) {
    failures.push(`answer: ${exchange.status} ${short(jsonOf(exchange))}`)
    return
  }
  if (!exchange.body.equals(bytesOf(recording))) failures.push('answer: other bytes than sent')
  checkEntry(exchange, recording, reportedBy(fields(json)['usage'], recording), findings)
}

function checkStream(
  exchange: Exchange,
  recording: Recording,
  frames: readonly RecordedFrame[],
  withUsage: boolean,
  findings: Findings,
): void {
  const { failures } = findings
  const end = frames.findIndex((frame) => isError(frame) || frame.data.trim() === '[DONE]')
  const before = end === -1 ? frames : frames.slice(0, end)
  const passed = before.filter((frame) => withUsage || !isUsage(frame))
  const failing = frames[end]
  const isWhole = frames.some((frame) => frame.data.trim() === '[DONE]' || isLast(frame))
  if ((failing !== undefined && isError(failing)) || !isWhole) {
    checkBroken(exchange, recording, passed, withUsage, findings)
    return
  }
  if (exchange.status !== 200) {
    failures.push(`answer: ${exchange.status} ${short(jsonOf(exchange))}`)
    return
  }
  const expected = Buffer.concat([...passed.map(bytesDue(withUsage)), Buffer.from(END)])
  if (!exchange.body.equals(expected))
    failures.push(`answer: ${firstOther(expected, exchange.body)}`)
  const usage = before
    .map(({ data }) => fields(parsed(data)))
    .map((chunk) => chunk['usage'] ?? fields(chunk['x_groq'])['usage'])
    .findLast(isFields)
  checkEntry(exchange, recording, reportedBy(usage, recording), findings)
}

/** A stream that did not come to its end: what came, then an error, and no end marker. */
function checkBroken(
  exchange: Exchange,
  recording: Recording,
  passed: readonly RecordedFrame[],
  withUsage: boolean,
  findings: Findings,
): void {
  const { failures } = findings
  checkLostEntry(exchange, findings)
  if (exchange.status !== 200) {
    // Nothing of the answer was out, so that it could still be told by the status.
    if (passed.some(saysSomething))
      failures.push(`cut: status ${exchange.status} instead of what came`)
    checkEnvelope(jsonOf(exchange), exchange, recording, findings)
    return
  }
  const expected = Buffer.concat(passed.map(bytesDue(withUsage)))
  const tail = exchange.body.subarray(expected.length).toString('utf8')
  if (!exchange.body.subarray(0, expected.length).equals(expected)) {
    failures.push(`cut: ${firstOther(expected, exchange.body)}`)
  }
  checkErrorEvent(tail, exchange, recording, findings)
}

/**
 * A frame as it is due to the caller: since usage is always asked for, a provider may say in each
 * that there is none yet, which a caller who did not ask does not see.
 */
function bytesDue(withUsage: boolean): (frame: RecordedFrame) => Buffer {
  return (frame) => {
    if (withUsage || chunkOf(frame)['usage'] !== null) return frame.bytes
    const written = frame.bytes.toString('utf8')
    return Buffer.from(written.replace(/,\s*"usage"\s*:\s*null|"usage"\s*:\s*null\s*,\s*/, ''))
  }
}

/** The one event that may follow what came. */
function checkErrorEvent(
  tail: string,
  exchange: Exchange,
  recording: Recording,
  findings: Findings,
): void {
  const event = /^data: (\{.*\})\n\n$/.exec(tail)?.[1]
  if (exchange.body.includes('[DONE]')) findings.failures.push('cut: ends as if it were whole')
  if (event === undefined) findings.failures.push(`cut: ends in ${short(tail)}, not in an error`)
  else checkEnvelope(parsed(event), exchange, recording, findings)
}

function firstOther(expected: Buffer, found: Buffer): string {
  let at = 0
  while (at < expected.length && expected[at] === found[at]) at++
  const words = (bytes: Buffer): string => short(bytes.subarray(at, at + 80).toString('utf8'))
  return `from byte ${at} ${words(found)} instead of ${words(expected)}`
}

/** The count of a provider of this wire; of xAI, reasoning is not in the completion. */
export function reportedBy(usage: unknown, { provider }: Recording): Reported | undefined {
  if (!isFields(usage) || typeof usage['prompt_tokens'] !== 'number') return undefined
  const prompt = Number(usage['prompt_tokens'])
  const details = fields(usage['completion_tokens_details'])
  const cachedSaid =
    fields(usage['prompt_tokens_details'])['cached_tokens'] ?? usage['prompt_cache_hit_tokens']
  const reasoning = Number(details['reasoning_tokens'] ?? usage['reasoning_tokens'] ?? 0)
  const told = Number(usage['completion_tokens'] ?? 0)
  const total = Number(usage['total_tokens'] ?? prompt + told)
  const apart = provider === 'xai' || total === prompt + told + reasoning
  return {
    prompt,
    completion: apart ? told + reasoning : told,
    total,
    ...(typeof cachedSaid === 'number' ? { cached: Math.min(cachedSaid, prompt) } : {}),
    reasoning: apart ? reasoning : Math.min(reasoning, told),
  }
}

function chunkOf({ data }: RecordedFrame): Fields {
  return data.trimStart().startsWith('{') ? fields(parsed(data)) : {}
}

/** Usage alone, which is taken out where the caller did not ask for it. */
function isUsage(frame: RecordedFrame): boolean {
  const chunk = chunkOf(frame)
  return isFields(chunk['usage']) && list(chunk['choices']).length === 0
}

export function isError(frame: RecordedFrame): boolean {
  const chunk = chunkOf(frame)
  return (
    frame.event === 'error' ||
    Boolean(chunk['error']) ||
    objects(chunk['choices']).some((choice) => isFields(choice['error']))
  )
}

/** The first frame of the end: a finish reason or what follows it. */
function isLast(frame: RecordedFrame): boolean {
  if (frame.data.trim() === '[DONE]') return true
  return objects(chunkOf(frame)['choices']).some((choice) => Boolean(choice['finish_reason']))
}

function saysSomething(frame: RecordedFrame): boolean {
  return objects(chunkOf(frame)['choices']).some(({ delta }) =>
    Object.entries(fields(delta)).some(
      ([name, value]) => name !== 'role' && value !== '' && value !== null,
    ),
  )
}
