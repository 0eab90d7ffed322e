import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { WHOLE } from './answers.ts'
import { start } from './processes.ts'
import type { Part } from './processes.ts'

export interface Nginx {
  readonly part: Part
  readonly port: number
}

/** nginx that answers every request at once, the lightest upstream there is. */
export function startNginxUpstream(folder: string, core: number): Promise<Nginx> {
  return startNginx(
    folder,
    core,
    (port) => `
    server {
      listen 127.0.0.1:${port};
      location / { default_type application/json; return 200 '${WHOLE}'; }
    }`,
  )
}

/** nginx that passes on to a port, with connections kept on both sides. */
export function startNginxProxy(folder: string, core: number, upstream: number): Promise<Nginx> {
  return startNginx(
    folder,
    core,
    (port) => `
    upstream up { server 127.0.0.1:${upstream}; keepalive 64; keepalive_requests 100000000; }
    server {
      listen 127.0.0.1:${port};
      location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; }
    }`,
  )
}

/** One worker, without privileges, all its files in the folder. */
async function startNginx(
  folder: string,
  core: number,
  servers: (port: number) => string,
): Promise<Nginx> {
  mkdirSync(folder, { recursive: true })
  const port = await freePort()
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const file = join(folder, 'nginx.conf')
  writeFileSync(
    file,
    `daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
    events { worker_connections 4096; }
    http {
      access_log off; keepalive_requests 100000000;
      ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}
      ${servers(port)}
    }`,
  )
  // Its workers are its children: what they use is not its own, so it runs without any.
  const args = ['-c', file, '-e', join(folder, 'error.log'), '-g', 'master_process off;']
  const part = start('nginx', args, { core, env: { ...process.env, PATH: path() } })
  for (let tries = 0; !(await listens(port)); tries++) {
    if (tries > 200 || part.child.exitCode !== null) throw new Error(`nginx did not start: ${file}`)
    await sleep(10)
  }
  return { part, port }
}

function path(): string {
  return `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin`
}

async function listens(port: number): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1' })
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
