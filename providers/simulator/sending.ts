import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import { Refusal } from './chat-request.ts'
import { FAULT_HEADER, FAULT_MODEL, type Faults, numberOf, readFaults } from './faults.ts'

/**
 * Reads the faults of a request and plays those that come before an answer.
 *
 * @returns those left for the answer; absent where one has been the whole answer
 * @throws Refusal for a status that was ordered
 */
export async function begin(
  request: IncomingMessage,
  response: ServerResponse,
  model: string,
  gone: AbortSignal,
): Promise<Faults | undefined> {
  const header = request.headers[FAULT_HEADER]
  const faults = readFaults(
    FAULT_MODEL.test(model) ? model.replace(FAULT_MODEL, '') : '',
    typeof header === 'string' ? header : '',
  )
  const latencyMs = numberOf(faults, 'latency')
  if (latencyMs !== undefined) await wait(latencyMs, undefined, { signal: gone })
  if (faults.ordered.has('silent')) {
    await once(gone, 'abort')
    return undefined
  }
  if (faults.ordered.has('reset')) {
    response.socket?.resetAndDestroy()
    return undefined
  }
  const status = numberOf(faults, 'status')
  if (status !== undefined) {
    const { options } = faults
    const after = options.get('retry-after')
    if (after !== null) response.setHeader('retry-after', after)
    throw new Refusal(
      status >= 200 && status <= 599 ? status : 500,
      options.get('message') ?? `The simulator was told to answer ${status}`,
      { code: options.get('code') ?? CODES[status] ?? 'simulated' },
    )
  }
  if (faults.ordered.has('html')) {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' })
    response.end('<!doctype html><title>Bad gateway</title><h1>502 Bad gateway</h1>')
    return undefined
  }
  if (faults.ordered.has('empty')) {
    response.writeHead(200, { 'content-type': 'application/json' }).end()
    return undefined
  }
  return faults
}

const CODES: Readonly<Record<number, string>> = {
  401: 'invalid_api_key',
  404: 'model_not_found',
  429: 'rate_limit_exceeded',
}

export async function sendWhole(
  response: ServerResponse,
  answer: object,
  faults: Faults,
  gone: AbortSignal,
): Promise<void> {
  const { ordered: has } = faults
  if (has.has('error-after')) throw new Error('error-after')
  const text = JSON.stringify(answer)
  const half = text.slice(0, text.length / 2)
  const cut = has.has('cut-after') || has.has('reset-after')
  const broken = has.has('half-json') || has.has('malformed-after')
  const body = Buffer.from(broken ? half : text)
  response.writeHead(200, {
    'content-type': 'application/json',
    ...(has.has('endless') ? {} : { 'content-length': body.length }),
  })
  const pauseMs = numberOf(faults, 'first-token')
  if (pauseMs !== undefined) {
    response.flushHeaders()
    await wait(pauseMs, undefined, { signal: gone })
  }
  if (has.has('endless')) {
    // White space before a body is valid JSON so far.
    for (;;) await write(response, ' '.repeat(16 * 1024), gone)
  }
  if (!cut) {
    response.end(body)
    return
  }
  await write(response, half, gone)
  // What was written is to arrive before the end of the connection.
  await wait(5, undefined, { signal: gone })
  if (has.has('reset-after')) response.socket?.resetAndDestroy()
  else response.destroy()
}

export async function sendChunks(
  response: ServerResponse,
  chunks: Iterable<object>,
  faults: Faults,
  gone: AbortSignal,
): Promise<void> {
  const { ordered: has } = faults
  const stopAfter = numberOf(faults, 'cut-after') ?? numberOf(faults, 'reset-after') ?? Infinity
  const malformedAfter = has.has('half-json') ? 2 : numberOf(faults, 'malformed-after')
  const errorAfter = numberOf(faults, 'error-after')
  const gapMs = numberOf(faults, 'gap')
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
  response.flushHeaders()
  const pauseMs = numberOf(faults, 'first-token')
  if (pauseMs !== undefined) await wait(pauseMs, undefined, { signal: gone })

  let sent = 0
  for (const chunk of has.has('endless') ? endless(chunks) : chunks) {
    if (sent === stopAfter) return breakOff(response, has.has('reset-after'), gone)
    if (sent === malformedAfter) await write(response, 'data: {"id":"chatcmpl-\n\n', gone)
    if (sent === errorAfter) {
      const error = { message: 'The simulator was told to fail', type: 'server_error' }
      response.end(`data: ${JSON.stringify({ error: { ...error, param: null, code: null } })}\n\n`)
      return
    }
    if (gapMs !== undefined && sent > 0) await wait(gapMs, undefined, { signal: gone })
    await write(response, `data: ${JSON.stringify(chunk)}\n\n`, gone)
    sent += 1
  }
  // Fewer frames than the fault waits for: it comes before the end marker.
  if (stopAfter !== Infinity) return breakOff(response, has.has('reset-after'), gone)
  response.end('data: [DONE]\n\n')
}

async function breakOff(
  response: ServerResponse,
  reset: boolean,
  gone: AbortSignal,
): Promise<void> {
  if (!reset) {
    response.end()
    return
  }
  await wait(5, undefined, { signal: gone })
  response.socket?.resetAndDestroy()
}

/** The third chunk, the first that says anything, over and over. */
function* endless(chunks: Iterable<object>): Generator<object> {
  let chunk: object = {}
  for (const [index, each] of [...chunks].slice(0, 3).entries()) {
    chunk = each
    if (index < 2) yield each
  }
  for (;;) yield chunk
}

async function write(response: ServerResponse, text: string, gone: AbortSignal): Promise<void> {
  gone.throwIfAborted()
  if (!response.write(text)) await once(response, 'drain', { signal: gone })
}
