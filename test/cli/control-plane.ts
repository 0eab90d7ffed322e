import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import type { KeyView } from '../../src/cli/key-options.ts'

export const ADMIN_KEY = 'an-admin-key-of-the-tests'

export interface Asked {
  readonly method: string
  /** With its query. */
  readonly path: string
  readonly authorization: string | undefined
  readonly body: unknown
}

export interface Reply {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** A text is sent as it is. */
  readonly body?: unknown
}

export interface ControlPlane {
  readonly url: string
  readonly port: number
  /** What a client needs to find it. */
  readonly env: Readonly<Record<string, string>>
  readonly asked: Asked[]
}

/** A control plane for the length of one test; `METHOD /path` to what it answers. */
export async function controlPlane(
  answers: Readonly<Record<string, Reply | ((asked: Asked) => Reply)>>,
): Promise<ControlPlane> {
  const asked: Asked[] = []
  const server = createServer(async (req, res) => {
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk)
    const text = Buffer.concat(chunks).toString()
    const one: Asked = {
      method: req.method ?? '',
      path: req.url ?? '',
      authorization: req.headers.authorization,
      body: text === '' ? undefined : JSON.parse(text),
    }
    asked.push(one)
    const answer = answers[`${one.method} ${one.path}`] ?? answers[bare(one)] ?? answers['*']
    const reply = typeof answer === 'function' ? answer(one) : answer
    const { status = 200, headers = {}, body } = reply ?? refusal(404, 'not_found', 'There is none')
    res.writeHead(status, { 'content-type': 'application/json', ...headers })
    res.end(typeof body === 'string' ? body : JSON.stringify(body))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`
  return { url, port, asked, env: { TOLLGATE_URL: url, TOLLGATE_ADMIN_KEY: ADMIN_KEY } }
}

function bare({ method, path }: Asked): string {
  return `${method} ${path.split('?')[0]}`
}

/** An error as the control plane words it. */
export function refusal(status: number, code: string, message: string): Reply {
  return {
    status,
    body: { error: { message, code, type: 'x', param: null, request_id: 'req_0a1b' } },
  }
}

export function listOf(data: readonly object[], hasMore = false): Reply {
  return { body: { object: 'list', data, has_more: hasMore } }
}

export function key(changes: Partial<KeyView> = {}): KeyView {
  return {
    id: 'key_1',
    name: 'web',
    prefix: 'sk-tg-live-AbCdEfGh',
    last4: 'wxyz',
    status: 'active',
    created_at: '2026-11-01T10:00:00.000Z',
    expires_at: null,
    models: ['*'],
    endpoints: ['*'],
    addresses: [],
    limits: {
      requests_per_minute: null,
      tokens_per_minute: null,
      concurrency: null,
      budgets: [],
    },
    strict: false,
    successor_id: null,
    ...changes,
  }
}
