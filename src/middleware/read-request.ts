import type { IncomingMessage } from 'node:http'
import type { Middleware } from 'koa'
import { GatewayError } from '#errors'
import type { Asked } from '#protocol'
import type { Body } from '../endpoints/body.ts'
import type { GatewayState } from '../state.ts'

export interface ReadRequestDeps {
  readonly maxBodyBytes: number
  readonly readBody: (bytes: Uint8Array) => Body
  readonly read: (body: Body) => Asked
  /** Milliseconds of a clock that never jumps. */
  readonly tick: () => number
}

/** Reads the body, bounded while it comes in, and puts it and what it asks for into the state. */
export function readRequest({
  maxBodyBytes,
  readBody,
  read,
  tick,
}: ReadRequestDeps): Middleware<GatewayState> {
  return async function readRequest(ctx, next) {
    checkHead(ctx.req, maxBodyBytes)
    const body = readBody(await collect(ctx.req, maxBodyBytes))
    const { record, receivedTick } = ctx.state
    ctx.state.body = body
    const asked = read(body)
    ctx.state.asked = asked
    record.model = asked.request.model
    record.stream = asked.operation === 'chat' && asked.request.stream
    if (asked.request.endUser !== undefined) record.endUser = asked.request.endUser
    record.readMs = tick() - receivedTick
    await next()
  }
}

function checkHead(request: IncomingMessage, maxBodyBytes: number): void {
  const type = request.headers['content-type'] ?? ''
  if (!/^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(type)) {
    throw new GatewayError(
      'unsupported_media_type',
      `Send content-type: application/json, not "${type.slice(0, 60)}"`,
    )
  }
  const charset = /charset="?([^";\s]+)/i.exec(type)?.[1]
  const encoding = request.headers['content-encoding']
  if (
    (charset !== undefined && !/^utf-?8$/i.test(charset)) ||
    (encoding !== undefined && encoding !== 'identity')
  ) {
    throw new GatewayError('unsupported_media_type', 'Send the body uncompressed and in UTF-8')
  }
  if (Number(request.headers['content-length'] ?? 0) > maxBodyBytes) throw tooLarge(maxBodyBytes)
}

/** @throws GatewayError `body_too_large` as soon as too many bytes came */
export function collect(request: IncomingMessage, maxBodyBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    request.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length > maxBodyBytes) {
        request.pause()
        reject(tooLarge(maxBodyBytes))
      } else chunks.push(chunk)
    })
    request.on('end', () =>
      resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, length)),
    )
    request.on('error', reject)
    request.on('close', () => {
      if (!request.complete)
        reject(
          new GatewayError('client_closed_request', 'The client left while sending its request'),
        )
    })
  })
}

function tooLarge(maxBodyBytes: number): GatewayError {
  return new GatewayError(
    'body_too_large',
    `The body is over ${maxBodyBytes} bytes; send less, or raise max_body_bytes`,
  )
}
