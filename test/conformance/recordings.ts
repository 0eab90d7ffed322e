import { readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fields, isFields, list, text } from './json.ts'
import type { Fields } from './json.ts'

/** One exchange with a provider, as somebody recorded it. */
export interface Recording {
  readonly id: string
  /** The folder it stands in. */
  readonly provider: string
  readonly features: readonly string[]
  readonly request: RecordedRequest
  readonly response: RecordedResponse
}

export interface RecordedRequest {
  readonly method: string
  readonly path: string
  /** Absent for a recording of the answer alone, and for requests without a JSON body. */
  readonly body?: Fields
  /** Only the answer was recorded. */
  readonly missing: boolean
}

export interface RecordedResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Present unless it is a stream: the body as sent. */
  readonly body?: Buffer
  /** The same, parsed; undefined where it is no JSON. */
  readonly json?: unknown
  /** Of a stream, the frames with their blank lines. */
  readonly frames?: readonly RecordedFrame[]
}

export interface RecordedFrame {
  readonly bytes: Buffer
  /** Empty for comments. */
  readonly data: string
  readonly event: string
}

export interface Selection {
  readonly providers: readonly string[]
  /** Only recordings whose id has this in it. */
  readonly id?: string
}

/** The recordings of `<folder>/<provider>/*.json`, in the order of their names. */
export function readRecordings(folder: string, { providers, id }: Selection): Recording[] {
  return providers.flatMap((provider) => {
    const place = join(folder, provider)
    if (statSync(place, { throwIfNoEntry: false })?.isDirectory() !== true) return []
    return readdirSync(place)
      .filter((name) => name.endsWith('.json'))
      .toSorted()
      .map((name) => readRecording(provider, readFileSync(join(place, name), 'utf8')))
      .filter((recording) => id === undefined || recording.id.includes(id))
  })
}

export function readRecording(provider: string, json: string): Recording {
  const recording = fields(JSON.parse(json))
  const request = fields(recording['request'])
  const { body } = request
  return {
    id: text(recording['id']),
    provider,
    features: list(recording['features']).map(text),
    request: {
      method: text(request['method']) || 'POST',
      path: text(request['path']),
      ...(isFields(body) ? { body } : {}),
      missing: request['recorded'] === false || request['body'] === null,
    },
    response: readResponse(fields(recording['response'])),
  }
}

function readResponse(response: Fields): RecordedResponse {
  const answer = {
    status: Number(response['status']),
    headers: headersOf(fields(response['headers'])),
  }
  if (Array.isArray(response['sse'])) {
    const newline = text(response['sse_newline']) || '\n'
    return { ...answer, frames: list(response['sse']).map((frame) => readFrame(frame, newline)) }
  }
  const { body, raw = response['text'] } = response
  if (typeof raw === 'string') return { ...answer, body: Buffer.from(raw), json: tryJson(raw) }
  const written = typeof body === 'string' ? body : JSON.stringify(body ?? null)
  return { ...answer, body: Buffer.from(written), json: body }
}

/** Of the recorded headers those that say something of the answer, not of how it travelled. */
const OF_THE_WAY = new Set(['content-length', 'content-encoding', 'transfer-encoding'])

function headersOf(headers: Fields): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      OF_THE_WAY.has(name.toLowerCase()) ? [] : [[name.toLowerCase(), String(value)]],
    ),
  )
}

function readFrame(frame: unknown, newline: string): RecordedFrame {
  const { comment, event, id, data } = fields(frame)
  const lines = [
    ...(typeof comment === 'string' ? [`:${comment.startsWith(' ') ? '' : ' '}${comment}`] : []),
    ...(typeof event === 'string' ? [`event: ${event}`] : []),
    ...(typeof id === 'string' ? [`id: ${id}`] : []),
    ...(typeof data === 'string' ? data.split('\n').map((line) => `data: ${line}`) : []),
    '',
    '',
  ]
  return { bytes: Buffer.from(lines.join(newline)), data: text(data), event: text(event) }
}

function tryJson(written: string): unknown {
  try {
    return JSON.parse(written)
  } catch {
    return undefined
  }
}
