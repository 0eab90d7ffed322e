import { Agent, request as startRequest } from 'node:http'
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http'

/** An application that calls the data plane, down to the last byte. */
export interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly requestId: string
  /** As it came; of a stream, every frame. */
  readonly text: string
  // oxlint-disable-next-line typescript/no-explicit-any -- tests say what they expect of it
  readonly body: any
  /** All of it came, down to the end marker where it was a stream. */
  readonly complete: boolean
}

export interface Ask {
  readonly key?: string
  readonly path?: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly agent?: Agent
  /** Told of each piece of the answer; may leave. */
  readonly onPiece?: (pieces: number, leave: () => void) => void
  /** The head is in. */
  readonly onHead?: (reply: { readonly requestId: string }, leave: () => void) => void
}

/** What a chat asks for; a text is sent as it is. */
export type Body = string | Uint8Array | object

export const HELLO = [{ role: 'user', content: 'Hello' }] as const

/** Calls, and resolves with whatever came, also when the connection broke. */
export function call(dataUrl: string, body: Body, ask: Ask = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const request = start(dataUrl, ask)
    const leave = (): void => void request.destroy()
    request.on('error', (error) => {
      // Thrown by leaving as well; then there is a reply, or there was no head yet.
      if (response === undefined) reject(error)
    })
    let response: IncomingMessage | undefined
    request.on('response', (head) => {
      response = head
      const chunks: Buffer[] = []
      ask.onHead?.({ requestId: String(head.headers['x-request-id'] ?? '') }, leave)
      head.on('data', (piece: Buffer) => {
        chunks.push(piece)
        ask.onPiece?.(chunks.length, leave)
      })
      head.on('error', () => undefined)
      head.on('close', () => resolve(replyOf(head, Buffer.concat(chunks).toString())))
    })
    const bytes =
      typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)
    request.end(bytes)
  })
}

function start(dataUrl: string, ask: Ask): ClientRequest {
  const { key, path = '/v1/chat/completions', method = 'POST', agent = AGENT } = ask
  return startRequest(dataUrl + path, {
    method,
    agent,
    headers: {
      'content-type': 'application/json',
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...ask.headers,
    },
  })
}

const AGENT = new Agent({ keepAlive: false })

function replyOf(head: IncomingMessage, text: string): Reply {
  const isStream = /event-stream/.test(head.headers['content-type'] ?? '')
  return {
    status: head.statusCode ?? 0,
    headers: head.headers,
    requestId: String(head.headers['x-request-id'] ?? ''),
    text,
    get body() {
      return JSON.parse(text)
    },
    complete: head.complete && (!isStream || text.endsWith('data: [DONE]\n\n')),
  }
}
