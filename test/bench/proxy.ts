import { Agent, createServer, request as httpRequest } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Pool } from 'undici'
import type { Dispatcher } from 'undici'

/**
 * The least a proxy in Node can do: no key, no limit, no ledger, no log, nothing read.
 *
 * Arguments: `http` (an agent with keep-alive) or `undici` (its dispatch), and the upstream's port.
 */

const [kind, port] = process.argv.slice(2)
const host = '127.0.0.1'
const agent = new Agent({ keepAlive: true })
const pool = new Pool(`http://${host}:${port}`)

type Headers = Record<string, string | string[] | undefined>

function headersOf({ headers }: IncomingMessage): Headers {
  const { host: _host, connection: _connection, ...rest } = headers
  return rest
}

function throughHttp(req: IncomingMessage, res: ServerResponse): void {
  const upstream = httpRequest(
    { agent, host, port, method: 'POST', path: req.url, headers: headersOf(req) as never },
    (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(res)
    },
  )
  req.pipe(upstream)
}

function throughUndici(req: IncomingMessage, res: ServerResponse): void {
  const pieces: Buffer[] = []
  req.on('data', (piece: Buffer) => pieces.push(piece))
  req.on('end', () => {
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart() {},
      onResponseStart: (_, status, headers) => void res.writeHead(status, headers),
      onResponseData: (_, piece) => void res.write(piece),
      onResponseEnd: () => void res.end(),
      onResponseError: () => void res.destroy(),
    }
    const headers = headersOf(req)
    pool.dispatch(
      { path: req.url ?? '/', method: 'POST', headers, body: Buffer.concat(pieces) },
      handler,
    )
  })
}

const server = createServer(kind === 'undici' ? throughUndici : throughHttp)
server.listen(0, host, () => {
  process.stdout.write(`ready ${(server.address() as AddressInfo).port}\n`)
})
