import { once } from 'node:events'
import { timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { JsonObject } from '#protocol'
import { answerChat } from './answer.ts'
import { readChat, Refusal } from './chat-request.ts'
import { writeAnswer, writeChunks } from './chat-wire.ts'
import { answerEmbeddings } from './embeddings.ts'
import { FAULT_MODEL, FAULTS, spoilUsage } from './faults.ts'
import { digest } from './random.ts'
import { begin, sendChunks, sendWhole } from './sending.ts'
import { isObject } from './schema.ts'

/** Models that answer chats, and the one that embeds; `fault/...` answers chats as ordered. */
export const CHAT_MODELS = ['chat', 'echo', 'thinker', 'tiny'] as const
export const EMBEDDING_MODEL = 'embed'

const MAX_BODY_BYTES = 256 * 1024 * 1024

export interface SimulatorOptions {
  /** The credential to demand of callers. */
  readonly token: string
}

export interface Simulator {
  /** With the version path, as an OpenAI SDK takes it. */
  readonly baseUrl: string
  /** Ends open answers and stops listening. */
  close(): Promise<void>
}

/**
 * A model provider without models: OpenAI's wire on a loopback port, for a gateway that has no
 * key and no network, and for tests that need faults on demand.
 */
export async function startSimulator({ token }: SimulatorOptions): Promise<Simulator> {
  const expected = digest(`Bearer ${token}`)
  const server = createServer((request, response) => {
    void respond(request, response, expected)
  })
  // Longer than any client keeps an idle connection, so that none is closed as it is used again.
  server.keepAliveTimeout = 120_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  expected: Buffer,
): Promise<void> {
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  response.on('error', () => gone.abort())
  try {
    await route(request, response, expected, gone.signal)
  } catch (error) {
    if (gone.signal.aborted || response.destroyed) return
    if (response.headersSent) response.destroy()
    else refuse(response, error)
  }
}

async function route(
  request: IncomingMessage,
  response: ServerResponse,
  expected: Buffer,
  gone: AbortSignal,
): Promise<void> {
  if (!timingSafeEqual(digest(request.headers.authorization ?? ''), expected)) {
    throw new Refusal(401, 'Incorrect API key provided', { code: 'invalid_api_key' })
  }
  const [path] = (request.url ?? '').split('?', 1)
  const call = `${request.method} ${path}`
  if (call === 'GET /v1/models') return send(response, { object: 'list', data: models() })
  if (call === 'POST /v1/chat/completions') return chat(request, response, gone)
  if (call === 'POST /v1/embeddings') return embed(request, response, gone)
  throw new Refusal(404, `Unknown request URL: ${call}`, { code: 'unknown_url' })
}

async function chat(
  request: IncomingMessage,
  response: ServerResponse,
  gone: AbortSignal,
): Promise<void> {
  const asked = readChat(await readBody(request))
  if (!FAULT_MODEL.test(asked.model) && !CHAT_MODELS.some((name) => name === asked.model)) {
    throw unknownModel(asked.model)
  }
  const faults = await begin(request, response, asked.model, gone)
  if (faults === undefined) return
  const answer = answerChat(asked)
  const usage = spoilUsage(faults, answer.usage)
  if (asked.stream) await sendChunks(response, writeChunks(asked, answer, usage), faults, gone)
  else await sendWhole(response, writeAnswer(asked, answer, usage), faults, gone)
}

async function embed(
  request: IncomingMessage,
  response: ServerResponse,
  gone: AbortSignal,
): Promise<void> {
  const body = await readBody(request)
  const model = typeof body['model'] === 'string' ? body['model'] : ''
  if (!FAULT_MODEL.test(model) && model !== EMBEDDING_MODEL) throw unknownModel(model)
  const faults = await begin(request, response, model, gone)
  if (faults !== undefined) await sendWhole(response, await answerEmbeddings(body), faults, gone)
}

async function readBody(request: IncomingMessage): Promise<JsonObject> {
  const pieces: Buffer[] = []
  let size = 0
  for await (const piece of request as AsyncIterable<Buffer>) {
    size += piece.length
    if (size > MAX_BODY_BYTES) throw new Refusal(413, 'The body is too large')
    pieces.push(piece)
  }
  try {
    const body: unknown = JSON.parse(Buffer.concat(pieces).toString('utf8'))
    if (isObject(body)) return body
  } catch {
    // Told below, as for JSON that is no object.
  }
  throw new Refusal(400, 'We could not parse the JSON body of your request')
}

function models(): object[] {
  const faults = Object.keys(FAULTS).map(
    (name) =>
      `fault/${name.replace('status-<n>', 'status-429').replace(/<n>/, '3').replace(/<ms>/, '1000')}`,
  )
  return [...CHAT_MODELS, EMBEDDING_MODEL, ...faults].map((id) => ({
    id,
    object: 'model',
    created: 0,
    owned_by: 'simulator',
  }))
}

function unknownModel(model: string): Refusal {
  return new Refusal(404, `The model '${model}' does not exist`, {
    code: 'model_not_found',
    param: 'model',
  })
}

function send(response: ServerResponse, body: object): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function refuse(response: ServerResponse, error: unknown): void {
  const { status, message, code, param } =
    error instanceof Refusal ? error : new Refusal(500, 'The simulator failed')
  const type =
    status === 429 ? 'rate_limit_error' : status >= 500 ? 'server_error' : 'invalid_request_error'
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ error: { message, type, param, code } }))
}
