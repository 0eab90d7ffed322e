import { GatewayError } from '#errors'
import type {
  Answer,
  Asked,
  BodyEdits,
  Candidate,
  Change,
  ChatEvent,
  ChatRequest,
  Inspected,
  PassThrough,
  ProviderError,
  RawFrame,
  Tally,
  UpstreamHeaders,
  UpstreamRequest,
  Wire,
} from '#protocol'
import { assertSameOrigin } from './egress.ts'
import { frameSplitter } from './frames.ts'
import type { Upstream, UpstreamAnswer } from './send.ts'

export interface Question {
  readonly asked: Asked
  /** The wire the caller speaks. */
  readonly wire: Wire
  /** The caller's own bytes with some top-level members changed, for a target of the same wire. */
  readonly rewrite: (edits: BodyEdits) => Uint8Array
  /** Refuse where the translation would lose something. */
  readonly strict: boolean
  /** Output tokens the budgets can still afford, where the caller set no maximum. */
  readonly clampTo?: number
  readonly signal: AbortSignal
  /** Headers of the caller that are meant for the provider. */
  readonly forward: Readonly<Record<string, string>>
}

export interface AskOptions {
  readonly firstEventTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly maxResponseBytes: number
  readonly now: () => number
  /** Fetches what a target cannot fetch for itself. */
  readonly inline: (
    request: ChatRequest,
    signal: AbortSignal,
  ) => Promise<{ request: ChatRequest; changes: readonly Change[] }>
}

type Piece = Uint8Array | readonly ChatEvent[]

/** Largest error body that is read. */
const MAX_ERROR_BYTES = 64 * 1024

/** Where an attempt keeps what becomes known of it, also when it fails half-way. */
export interface Attempt {
  /** Called when a request is about to leave, so that a failure can tell "refused" from "lost". */
  sent(): void
  tally: Tally | undefined
}

/**
 * Asks one target once.
 *
 * @returns as soon as the target has answered: the whole answer, or a stream whose first
 *   meaningful event is in
 * @throws GatewayError `unsupported_feature` before anything is sent; `upstream_*`, and what the
 *   provider's own error means, afterwards
 */
export async function ask(
  upstream: Upstream,
  candidate: Candidate,
  question: Question,
  options: AskOptions,
  attempt: Attempt,
): Promise<Answer> {
  const started = options.now()
  const prepared = await prepare(candidate, question, options)
  if (question.strict) refuseLoss(candidate, prepared.changes)
  const tally: Tally = { outputLength: 0, outputText: '' }
  const streamed = question.asked.operation === 'chat' && question.asked.request.stream
  assertSameOrigin(prepared.request.url, candidate.target.baseUrl)
  question.signal.throwIfAborted()
  attempt.tally = tally
  attempt.sent()
  const reply = await upstream.send(withHeaders(prepared.request, question.forward), {
    signal: question.signal,
    allowPrivateNetwork: candidate.instance.allowPrivateNetwork,
    headTimeoutMs: options.firstEventTimeoutMs,
    idleTimeoutMs: options.idleTimeoutMs,
    maxBytes: options.maxResponseBytes,
    who: candidate.target.provider,
  })
  tally.status = reply.status
  noteRequestId(tally, reply.headers)
  const facts = { candidate, changes: prepared.changes, tally, headers: reply.headers }
  if (reply.status < 200 || reply.status > 299) throw await refusal(candidate, reply)
  if (!streamed)
    return {
      ...facts,
      type: 'whole',
      content: await whole(candidate, question.asked, prepared.inspect, reply, tally),
    }
  const chunks = await streamOf(candidate, reply)
  const { request } = question.asked as { request: ChatRequest }
  const pieces =
    prepared.pass === undefined
      ? translated(candidate, request, reply, chunks, tally, options)
      : passing(candidate, prepared.pass, !request.includeUsage, reply, chunks, tally, options)
  const elapsed = (): number => options.now() - started
  const stream = await firstEvent(pieces, tally, elapsed, options.firstEventTimeoutMs, reply)
  return { ...facts, type: 'stream', pieces: stream }
}

/** OpenAI and its likes, Anthropic, Mistral behind Kong. */
const REQUEST_IDS = ['x-request-id', 'request-id', 'mistral-correlation-id'] as const

function noteRequestId(tally: Tally, headers: UpstreamHeaders): void {
  for (const name of REQUEST_IDS) {
    const id = headers[name]
    if (typeof id !== 'string') continue
    tally.requestId = id.slice(0, 128)
    return
  }
}

interface Prepared {
  readonly request: UpstreamRequest
  readonly changes: readonly Change[]
  /** Present when a stream's bytes pass through. */
  readonly pass?: PassThrough
  /** Present when a whole answer's bytes pass through, unless it returns undefined for it. */
  readonly inspect?: (body: unknown) => Inspected | undefined
}

async function prepare(
  candidate: Candidate,
  question: Question,
  options: AskOptions,
): Promise<Prepared> {
  const { provider } = candidate.instance
  const { asked } = question
  if (asked.operation === 'embeddings') {
    if (provider.embeddings === undefined) throw notOffered(candidate, 'embeddings')
    const { embeddings } = provider
    const { target } = candidate
    if (embeddings.passThrough === undefined) return embeddings.encode(asked.request, target)
    const { passThrough: pass } = embeddings
    const body = question.rewrite({
      ...pass.edits(asked.request),
      model: JSON.stringify(target.model),
    })
    return {
      request: { method: 'POST', url: pass.url(target), headers: pass.headers(target), body },
      changes: [],
      inspect: (answer) => pass.inspect(answer, asked.request),
    }
  }
  if (provider.chat === undefined) throw notOffered(candidate, 'chat')
  const { passThrough, wire } = provider.chat
  if (passThrough !== undefined && wire === question.wire) {
    const { edits, changes } = passThrough.edits(asked.request, candidate.target)
    const body = question.rewrite({
      ...edits,
      model: JSON.stringify(candidate.target.model),
      ...(question.clampTo === undefined
        ? {}
        : { [passThrough.maxTokensField(candidate.target)]: String(question.clampTo) }),
    })
    const headers = passThrough.headers(candidate.target)
    return {
      request: { method: 'POST', url: passThrough.url(candidate.target), headers, body },
      changes,
      pass: passThrough,
      inspect: (body) => passThrough.inspect(body),
    }
  }
  const clamped =
    question.clampTo === undefined
      ? asked.request
      : { ...asked.request, maxOutputTokens: question.clampTo }
  if (provider.capabilities.images !== 'inline')
    return provider.chat.encode(clamped, candidate.target)
  const inlined = await options.inline(clamped, question.signal)
  const encoded = provider.chat.encode(inlined.request, candidate.target)
  return { ...encoded, changes: [...inlined.changes, ...encoded.changes] }
}

function notOffered(candidate: Candidate, operation: string): GatewayError {
  return new GatewayError('unsupported_feature', `${candidate.name} offers no ${operation}`, {
    param: 'model',
  })
}

function refuseLoss(candidate: Candidate, changes: readonly Change[]): void {
  const lost = changes.filter(({ kind }) => kind === 'lossy')
  const first = lost[0]
  if (first === undefined) return
  throw new GatewayError(
    'unsupported_feature',
    `${candidate.name} cannot carry ${lost.map(({ field }) => field).join(', ')}, and strict translation is on`,
    { param: first.field, details: { changes: lost } },
  )
}

function withHeaders(
  request: UpstreamRequest,
  forward: Readonly<Record<string, string>>,
): UpstreamRequest {
  for (const _ in forward) return { ...request, headers: { ...forward, ...request.headers } }
  return request
}

async function whole(
  candidate: Candidate,
  asked: Asked,
  inspect: Prepared['inspect'],
  reply: UpstreamAnswer,
  tally: Tally,
): Promise<(Answer & { type: 'whole' })['content']> {
  const { provider } = candidate.instance
  const bytes = await reply.bytes()
  if (bytes.length === 0) throw nothingAnswered(candidate, reply)
  const body = parse(candidate, bytes)
  if (isErrorBody(body)) throw errorInBody(candidate, reply, bytes)
  try {
    const inspected = inspect?.(body)
    if (inspected !== undefined) {
      const { outputText = '', ...seen } = inspected
      // What passes through is not decoded: the one thing every caller reads must be there.
      if (asked.operation === 'chat' && seen.finishReason === undefined)
        throw notAnAnswer(candidate)
      Object.assign(tally, seen)
      tally.outputText = outputText
      tally.outputLength = outputText.length
      return { type: 'bytes', bytes }
    }
    if (asked.operation === 'embeddings') {
      const response = provider.embeddings!.decode(body, asked.request)
      Object.assign(tally, {
        model: response.model,
        ...(response.usage && { usage: response.usage }),
      })
      return { type: 'embeddings', response }
    }
    const response = provider.chat!.decode(body, asked.request)
    tally.outputText = textOf(response)
    tally.outputLength = tally.outputText.length
    if (response.usage !== undefined) tally.usage = response.usage
    if (response.model !== '') tally.model = response.model
    if (response.serviceTier !== undefined) tally.serviceTier = response.serviceTier
    const reason = response.choices[0]?.finishReason
    if (reason !== undefined) tally.finishReason = reason
    return { type: 'chat', response }
  } catch (error) {
    throw unreadable(candidate, error)
  }
}

function notAnAnswer(candidate: Candidate): GatewayError {
  return new GatewayError(
    'upstream_invalid',
    `${candidate.target.provider} answered something that is no answer`,
  )
}

function textOf(response: {
  readonly choices: readonly { readonly content: readonly object[] }[]
}): string {
  let text = ''
  for (const choice of response.choices) {
    for (const part of choice.content as readonly { text?: string; arguments?: string }[]) {
      text += part.text ?? part.arguments ?? ''
    }
  }
  return text
}

function parse(candidate: Candidate, bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw new GatewayError(
      'upstream_invalid',
      `${candidate.target.provider} answered something that is not JSON`,
      { cause },
    )
  }
}

function nothingAnswered(candidate: Candidate, { status }: UpstreamAnswer): GatewayError {
  return new GatewayError('upstream_invalid', `${candidate.target.provider} answered nothing`, {
    details: { upstream: { provider: candidate.target.provider, status } },
  })
}

/** A failure under status 200: what it is, its words tell as those of a failed gateway do. */
function errorInBody(candidate: Candidate, reply: UpstreamAnswer, bytes: Buffer): GatewayError {
  const { provider } = candidate.instance
  const error = provider.readError(502, reply.headers, errorText(candidate, bytes))
  return providerFailure(candidate, reply.status, error)
}

/** Some providers report failures under status 200. */
function isErrorBody(body: unknown): boolean {
  if (typeof body !== 'object' || body === null) return false
  const { error } = body as { error?: unknown }
  return (
    error !== undefined &&
    error !== null &&
    !('choices' in body && Array.isArray(body.choices) && body.choices.length > 0)
  )
}

/** What a provider says of a failure. Some repeat the credential they were sent. */
function errorText(candidate: Candidate, bytes: Buffer): string {
  return withoutCredential(candidate, bytes.toString('utf8', 0, MAX_ERROR_BYTES))
}

function withoutCredential({ target }: Candidate, text: string): string {
  const { credential } = target
  return credential === undefined ? text : text.replaceAll(credential, '[credential]')
}

/** The same for an error that a reader of the provider's stream made. */
function inOurWords(candidate: Candidate, error: GatewayError): GatewayError {
  const said = JSON.stringify([error.message, error.details ?? {}])
  const clean = withoutCredential(candidate, said)
  if (clean === said) return error
  const [message, details]: [string, Record<string, unknown>] = JSON.parse(clean)
  const { code, param, retryable, retryAfterMs } = error
  return new GatewayError(code, message, { param, details, retryable, retryAfterMs })
}

function unreadable(candidate: Candidate, error: unknown): GatewayError {
  if (error instanceof GatewayError) return inOurWords(candidate, error)
  return new GatewayError(
    'upstream_invalid',
    `${candidate.target.provider} answered in a form that cannot be read`,
    { cause: error },
  )
}

/** How an event begins. Some engines and proxies give streams another type. */
const EVENT = /^\s*(?:data|event|id|retry)?:/
/** Long enough for the longest of its words. */
const ENOUGH_BYTES = 16

async function streamOf(
  candidate: Candidate,
  reply: UpstreamAnswer,
): Promise<AsyncIterable<Uint8Array>> {
  const type = String(reply.headers['content-type'] ?? '')
  if (type === '' || /^text\/event-stream/i.test(type)) return reply.chunks
  const chunks = reply.chunks[Symbol.asyncIterator]()
  const start = await readSome(chunks, ENOUGH_BYTES)
  if (start.length === 0) throw nothingAnswered(candidate, reply)
  if (EVENT.test(start.toString('utf8', 0, ENOUGH_BYTES))) return following(start, chunks)
  const rest = await readSome(chunks, MAX_ERROR_BYTES - start.length)
  reply.abort()
  const bytes = Buffer.concat([start, rest])
  if (isErrorBody(parsedOrText(bytes))) throw errorInBody(candidate, reply, bytes)
  throw new GatewayError(
    'upstream_invalid',
    `${candidate.target.provider} answered ${type.slice(0, 60)} instead of a stream`,
    { details: { upstream: { provider: candidate.target.provider, status: reply.status } } },
  )
}

function parsedOrText(bytes: Buffer): unknown {
  const text = bytes.toString('utf8')
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

async function readSome(chunks: AsyncIterator<Uint8Array>, bytes: number): Promise<Buffer> {
  const read: Uint8Array[] = []
  for (let length = 0; length < bytes; length += read.at(-1)!.length) {
    const { value, done } = await chunks.next()
    if (done === true) break
    read.push(value)
  }
  return Buffer.concat(read)
}

async function* following(
  start: Uint8Array,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    yield start
    for (;;) {
      const { value, done } = await rest.next()
      if (done === true) return
      yield value
    }
  } finally {
    await rest.return?.()
  }
}

/** Bytes go by as they are; usage that the caller did not ask for is taken out. */
async function* passing(
  candidate: Candidate,
  pass: PassThrough,
  dropUsage: boolean,
  reply: UpstreamAnswer,
  chunks: AsyncIterable<Uint8Array>,
  tally: Tally,
  options: AskOptions,
): AsyncGenerator<Uint8Array> {
  const splitter = frameSplitter({ maxFrameBytes: options.maxResponseBytes })
  const watcher = pass.watcher()
  let done = false
  /** Nothing leaves before the answer itself has begun: another target may still be tried. */
  let held: Uint8Array[] = []
  let begun = false
  let empty = true
  const keep = (frames: readonly RawFrame[]): void => {
    for (const frame of frames) {
      if (done) break
      const verdict = watcher.watch(frame)
      if (verdict === 'done') done = true
      else if (!dropUsage) held.push(frame.bytes)
      else if (verdict === 'pass') keepWithout(frame.bytes, watcher.unaskedUsage, held)
    }
  }
  try {
    for await (const chunk of chunks) {
      empty = false
      keep(splitter.push(chunk))
      if (!watcher.answered) {
        if (done) break
        continue
      }
      begun = true
      if (held.length === 1) yield held[0]!
      else if (held.length > 1) yield Buffer.concat(held)
      held = []
      if (done) break
    }
    if (empty) throw nothingAnswered(candidate, reply)
    if (!done) keep(splitter.end())
    if (done ? !watcher.answered : !watcher.finished) throw cutOff(candidate)
    if (held.length > 0) yield Buffer.concat(held)
    held = []
  } catch (error) {
    // Frames that came in one piece with the failure; no other target will say them again.
    if (begun && held.length > 0) yield Buffer.concat(held)
    throw broken(candidate, error)
  } finally {
    Object.assign(tally, watcher.seen)
    tally.outputLength = watcher.outputLength
  }
}

function keepWithout(
  bytes: Uint8Array,
  cut: { readonly start: number; readonly end: number } | undefined,
  kept: Uint8Array[],
): void {
  if (cut === undefined) kept.push(bytes)
  else kept.push(bytes.subarray(0, cut.start), bytes.subarray(cut.end))
}

/** The provider's frames as our events, a batch for each chunk that came. */
async function* translated(
  candidate: Candidate,
  request: ChatRequest,
  reply: UpstreamAnswer,
  chunks: AsyncIterable<Uint8Array>,
  tally: Tally,
  options: AskOptions,
): AsyncGenerator<readonly ChatEvent[]> {
  const splitter = frameSplitter({ maxFrameBytes: options.maxResponseBytes })
  const reader = candidate.instance.provider.chat!.reader(request)
  let ended = false
  let begun = false
  let empty = true
  let read: ChatEvent[] = []
  const take = (events: readonly ChatEvent[]): void => {
    for (const event of events) {
      count(event, tally)
      if (event.type === 'end') ended = true
      else read.push(event)
    }
  }
  const takeFrames = (frames: readonly RawFrame[]): void => {
    for (const frame of frames) take(reader.read({ event: frame.event, data: frame.data() }))
  }
  const given = (): readonly ChatEvent[] => {
    const events = read
    read = []
    begun ||= says(events)
    return events
  }
  try {
    for await (const chunk of chunks) {
      empty = false
      takeFrames(splitter.push(chunk))
      if (read.length > 0) yield given()
      if (ended) break
    }
    if (empty) throw nothingAnswered(candidate, reply)
    if (!ended) {
      takeFrames(splitter.end())
      if (!ended) take(reader.end())
      if (read.length > 0) yield given()
    }
  } catch (error) {
    // What came in one piece with the failure; no other target will say it again.
    if (begun && read.length > 0) yield read
    throw broken(candidate, error)
  }
}

function count(event: ChatEvent, tally: Tally): void {
  switch (event.type) {
    case 'text-delta':
    case 'reasoning-delta':
    case 'refusal-delta':
    case 'tool-call-delta':
      tally.outputLength += event.text.length
      tally.outputText += event.text
      break
    case 'start':
      if (event.model !== '') tally.model = event.model
      break
    case 'finish':
      tally.finishReason ??= event.reason
      break
    case 'usage':
      tally.usage = event.usage
      if (event.serviceTier !== undefined) tally.serviceTier = event.serviceTier
      break
  }
}

/** Holds a stream back until it has said something, so that another target may still be asked. */
async function firstEvent(
  pieces: AsyncGenerator<Piece>,
  tally: Tally,
  elapsedMs: () => number,
  timeoutMs: number,
  reply: UpstreamAnswer,
): Promise<AsyncIterable<Piece>> {
  const held: Piece[] = []
  const timer = setTimeout(
    () =>
      reply.abort(
        new GatewayError('upstream_timeout', `The provider sent nothing for ${timeoutMs} ms`),
      ),
    timeoutMs - elapsedMs(),
  )
  try {
    for (;;) {
      const { value, done } = await pieces.next()
      if (done) break
      held.push(value)
      if (says(value)) break
    }
  } finally {
    clearTimeout(timer)
  }
  tally.firstEventMs = elapsedMs()
  return resume(held, pieces)
}

/** Events that hold nothing of the answer yet; thinking that begins may stay silent for long. */
const SILENT: ReadonlySet<ChatEvent['type']> = new Set(['start', 'text-start', 'refusal-start'])

function says(piece: Piece): boolean {
  return piece instanceof Uint8Array || piece.some(({ type }) => !SILENT.has(type))
}

async function* resume(held: readonly Piece[], rest: AsyncGenerator<Piece>): AsyncGenerator<Piece> {
  try {
    yield* held
    yield* rest
  } finally {
    await rest.return(undefined)
  }
}

function cutOff(candidate: Candidate): GatewayError {
  return new GatewayError(
    'upstream_error',
    `${candidate.target.provider} closed the stream before its end`,
  )
}

function broken(candidate: Candidate, error: unknown): unknown {
  return error instanceof Error && error.name === 'AbortError'
    ? error
    : unreadable(candidate, error)
}

async function refusal(candidate: Candidate, reply: UpstreamAnswer): Promise<GatewayError> {
  if (reply.status >= 300 && reply.status < 400) {
    reply.abort()
    return new GatewayError(
      'upstream_error',
      `${candidate.target.provider} answered a redirect, which is never followed; check its base_url`,
    )
  }
  const bytes = await reply.bytes().catch(() => Buffer.alloc(0))
  const { provider } = candidate.instance
  return providerFailure(
    candidate,
    reply.status,
    provider.readError(reply.status, reply.headers, errorText(candidate, bytes)),
  )
}

type Kind = ProviderError['kind']

const MEANINGS: Readonly<Record<Kind, ConstructorParameters<typeof GatewayError>[0]>> = {
  invalid_request: 'invalid_value',
  context_length: 'context_length_exceeded',
  authentication: 'upstream_rejected',
  permission: 'upstream_rejected',
  not_found: 'model_not_found',
  rate_limit: 'upstream_rate_limited',
  quota: 'upstream_rejected',
  overloaded: 'upstream_error',
  server: 'upstream_error',
  timeout: 'upstream_timeout',
  content_filter: 'content_filter',
}

/** Whose fault it is decides whose words the caller reads: its own mistakes in the provider's words. */
export function providerFailure(
  candidate: Candidate,
  status: number,
  error: ProviderError,
): GatewayError {
  const who = candidate.target.provider
  const told: Readonly<Record<Kind, string>> = {
    invalid_request: error.message,
    context_length: error.message,
    content_filter: error.message,
    not_found: `${who} does not know the model ${candidate.target.model}: ${error.message}`,
    authentication: `${who} refused our credential; the operator must check its api_key`,
    permission: `${who} does not let our credential do this; the operator must check it`,
    quota: `The account at ${who} has no quota left; the operator must act`,
    rate_limit: `${who} is limiting our requests`,
    overloaded: `${who} is overloaded`,
    server: status < 300 ? `${who} answered an error` : `${who} failed with status ${status}`,
    timeout: `${who} gave up with a timeout`,
  }
  const private_ = error.kind === 'authentication' || error.kind === 'permission'
  return new GatewayError(MEANINGS[error.kind], told[error.kind], {
    param: error.param,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
    details: {
      upstream: {
        provider: who,
        status,
        kind: error.kind,
        ...(error.code === undefined ? {} : { code: error.code }),
        ...(private_ ? {} : { message: error.message.slice(0, 2000) }),
      },
    },
  })
}
