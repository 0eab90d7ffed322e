import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { z } from 'zod'
import { officialFault } from './official.ts'
import { pieces } from './said.ts'
import type { Said } from './said.ts'

/** How one provider behaves: what it takes, and how it says things. */
export interface Character {
  readonly id: string
  /** Path of the base URL its official SDK takes. */
  readonly basePath: '' | '/v1'
  /** Our credential there. */
  readonly credential: string
  readonly isAuthentic: (headers: IncomingHttpHeaders) => boolean
  /** What a request asks for; absent: nothing is served there. */
  operation(path: string, body: unknown): Operation | undefined
  /** The answer in one piece. */
  whole(said: Said): unknown
  /** The same answer as server-sent events. */
  frames(said: Said): readonly string[]
  vectors?(vectors: readonly (readonly number[])[], tokens: number, body: unknown): unknown
  /** The event by which a stream that began well reports a failure. */
  readonly streamFailure: string
  readonly refusals: Readonly<Record<RefusalName, Refusal>>
  /** How it says that a request is wrong. */
  invalid(problem: string): Refusal
}

export interface Operation {
  readonly kind: 'chat' | 'stream' | 'vectors'
  /** Strict: what the provider does not know is refused. */
  readonly schema: z.ZodType
  /** Where the provider's own specification describes the body. */
  readonly official: { readonly file: string; readonly schema: string }
}

export type RefusalName =
  | 'badRequest'
  | 'badCredential'
  | 'unknownModel'
  | 'tooLong'
  | 'rateLimited'
  | 'noMoney'
  | 'overloaded'
  | 'broken'

/** An answer with an error status, in the provider's own words. */
export interface Refusal {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body: unknown
}

export type Reply =
  | { readonly says: Said; readonly breaks?: Break }
  | { readonly refuses: RefusalName }
  | { readonly embeds: readonly (readonly number[])[]; readonly tokens: number }
  /** Takes the request and says nothing. */
  | { readonly hangs: true }

/** `early`: before any word of the answer; `midway`: after the first. */
export interface Break {
  readonly when: 'early' | 'midway'
  /** `stall`: nothing more comes; `cut`: the connection ends; `error`: the provider says why. */
  readonly how: 'stall' | 'cut' | 'error'
}

export interface Received {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  // oxlint-disable-next-line typescript/no-explicit-any -- tests say what they expect of it
  readonly body: any
  /** When the caller left before the answer was complete, by `performance.now()`. */
  readonly abandoned: Promise<number>
}

/** A local server that plays a provider. */
export interface StandIn {
  readonly character: Character
  /** As the provider's official SDK takes it. */
  readonly baseUrl: string
  /** Every request since the last {@link StandIn.reset}. */
  readonly received: readonly Received[]
  /** What is wrong with the requests, in a few words each. */
  readonly problems: readonly string[]
  /** What to answer next; in turn. */
  plays(...replies: readonly Reply[]): void
  reset(): void
  close(): Promise<void>
}

const BREAK_AFTER_MS = 20

export async function openStandIn(character: Character): Promise<StandIn> {
  const received: Received[] = []
  const problems: string[] = []
  const replies: Reply[] = []
  const sockets = new Set<Socket>()

  const server = createServer((request, response) => {
    void answer(request, response).catch((error: unknown) => {
      problems.push(`the stand-in failed: ${String(error)}`)
      response.destroy()
    })
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const abandoned = leaving(response)
    const body = await readJson(request)
    const path = request.url ?? ''
    received.push({ path, headers: request.headers, body, abandoned })
    const operation = character.operation(path, body)
    const problem = await fault(request, body, operation)
    if (problem !== undefined) {
      problems.push(problem)
      refuse(response, character.invalid(problem))
      return
    }
    await perform(response, operation!, replies.shift() ?? { refuses: 'broken' }, body)
  }

  async function fault(
    { method, headers, url }: IncomingMessage,
    body: unknown,
    operation: Operation | undefined,
  ): Promise<string | undefined> {
    if (!character.isAuthentic(headers)) return 'no valid credential'
    if (operation === undefined || method !== 'POST') return `nothing is served at ${method} ${url}`
    if (!headers['content-type']?.startsWith('application/json')) return 'the body is not JSON'
    const read = operation.schema.safeParse(body)
    if (!read.success) {
      const { path, message } = read.error.issues[0]!
      return `${path.join('.')}: ${message} in ${JSON.stringify(body)}`
    }
    return officialFault(operation.official, body)
  }

  async function perform(
    response: ServerResponse,
    { kind }: Operation,
    reply: Reply,
    body: unknown,
  ): Promise<void> {
    if ('hangs' in reply) return
    if ('refuses' in reply) return refuse(response, character.refusals[reply.refuses])
    if ('embeds' in reply) {
      if (kind !== 'vectors' || character.vectors === undefined) throw new Error('no vectors asked')
      return json(response, 200, character.vectors(reply.embeds, reply.tokens, body))
    }
    if (kind === 'vectors') throw new Error('vectors asked')
    if (kind === 'stream') return stream(response, reply.says, reply.breaks)
    return json(response, 200, character.whole(reply.says))
  }

  async function stream(response: ServerResponse, says: Said, breaks?: Break): Promise<void> {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
    const frames = character.frames(says)
    for (const part of frames.slice(0, breakPoint(frames, says, breaks))) {
      response.write(part)
      // A chunk each: they are to meet the gateway one by one.
      await nextTurn()
    }
    if (breaks === undefined) return void response.end()
    // What came before it has arrived by then.
    await sleep(BREAK_AFTER_MS)
    if (breaks.how === 'stall') return
    if (breaks.how === 'cut') response.destroy()
    else response.end(character.streamFailure)
  }

  return {
    character,
    baseUrl: `http://127.0.0.1:${port}${character.basePath}`,
    received,
    problems,
    plays(...next) {
      replies.push(...next)
    },
    reset() {
      for (const list of [received, problems, replies]) list.length = 0
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** How many frames come before the break. */
function breakPoint(frames: readonly string[], { text = '' }: Said, breaks?: Break): number {
  if (breaks === undefined) return frames.length
  const [first = ''] = pieces(text)
  const at = frames.findIndex((part) => part.includes(JSON.stringify(first)))
  if (at < 0) throw new Error('only an answer in words breaks')
  return breaks.when === 'early' ? at : at + 1
}

function leaving(response: ServerResponse): Promise<number> {
  return new Promise((resolve) => {
    response.on('close', () => {
      if (!response.writableFinished) resolve(performance.now())
    })
  })
}

function refuse(response: ServerResponse, { status, headers, body }: Refusal): void {
  for (const [name, value] of Object.entries(headers ?? {})) response.setHeader(name, value)
  json(response, status, body)
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString()
  return text === '' ? undefined : JSON.parse(text)
}
