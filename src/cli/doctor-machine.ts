import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { flagOf } from '../config.ts'
import type { Config } from '../config.ts'
import { codeOf } from './admin-api.ts'
import type { Check } from './doctor.ts'
import { isLoopback, reachable } from './session.ts'

/** Of the `engines` in package.json. */
const NEEDED = [24, 11] as const

export function checkNode(version: string): Check {
  const [major = 0, minor = 0] = version.slice(1).split('.').map(Number)
  const isEnough = major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])
  return {
    check: 'node',
    result: isEnough ? 'ok' : 'failed',
    detail: version,
    fix: isEnough ? null : `install Node ${NEEDED.join('.')} or newer`,
  }
}

/** The directory 0700 and ours to write, the secrets in it 0600. */
export function checkDataDir({ data_dir: path, database_url }: Config): readonly Check[] {
  const check = 'data directory'
  if (!existsSync(path)) {
    const detail = `${path} is not there yet: the first start makes it`
    return [{ check, result: 'skipped', detail, fix: null }]
  }
  try {
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch {
    const fix = `make it this user's: chown -R "$(id -un)" ${path}`
    return [{ check, result: 'failed', detail: `${path} cannot be read and written`, fix }]
  }
  const secrets = [
    'admin.key',
    'master.key',
    ...(database_url === undefined ? ['tollgate.db'] : []),
  ]
  const open = [path, ...secrets.map((name) => join(path, name))].filter(isOpenToOthers)
  if (open.length === 0) return [{ check, result: 'ok', detail: path, fix: null }]
  return open.map((place) => ({
    check,
    result: 'warning' as const,
    detail: `${place} can be read by other users`,
    fix: `chmod go= ${place}`,
  }))
}

function isOpenToOthers(path: string): boolean {
  // Windows keeps its rights elsewhere.
  if (process.platform === 'win32' || !existsSync(path)) return false
  return (statSync(path).mode & 0o077) !== 0
}

/** Whether a port is free, or held by a Tollgate. */
export async function checkPort(
  setting: 'port' | 'admin_port',
  host: string,
  port: number,
): Promise<Check> {
  const check = setting.replace('_', ' ')
  const place = `${host}:${port}`
  if (port === 0) return { check, result: 'ok', detail: 'picked at the start', fix: null }
  const holder = await whoListens(host, port)
  if (holder === 'tollgate') return { check, result: 'ok', detail: `${place}: Tollgate`, fix: null }
  const fault = holder === 'other' ? 'EADDRINUSE' : await tryToListen(host, port)
  if (fault === undefined) return { check, result: 'ok', detail: `${place} is free`, fix: null }
  return {
    check,
    result: 'failed',
    detail: `${place} ${fault === 'EADDRINUSE' ? 'is taken by another program' : `cannot be listened on (${fault})`}`,
    fix: `choose another with ${flagOf(setting)}, or end what holds it`,
  }
}

const PROBE_MS = 2000

async function whoListens(host: string, port: number): Promise<'tollgate' | 'other' | 'nobody'> {
  try {
    const response = await fetch(`http://${reachable(host)}:${port}/livez`, {
      redirect: 'manual',
      signal: AbortSignal.timeout(PROBE_MS),
    })
    const body: unknown = await response.json()
    return isHealth(body) ? 'tollgate' : 'other'
  } catch (error) {
    return codeOf(error) === 'ECONNREFUSED' ? 'nobody' : 'other'
  }
}

function isHealth(body: unknown): boolean {
  return typeof body === 'object' && body !== null && 'status' in body && 'version' in body
}

/** The system's code for what forbids it; undefined when nothing does. */
function tryToListen(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen(port, host, () => server.close(() => resolve(undefined)))
  })
}

/** Both planes speak plain HTTP: past this machine that is for a network one trusts. */
export function checkExposure(config: Config): readonly Check[] {
  const planes = [
    ['data plane', 'host', config.host],
    ['control plane', 'admin_host', config.admin_host],
  ] as const
  return planes
    .filter(([, , host]) => !isLoopback(host))
    .map(([plane, setting, host]) => ({
      check: 'exposure',
      result: 'warning',
      detail: `the ${plane} listens on ${host} without TLS`,
      fix: `listen on 127.0.0.1 (${flagOf(setting)}) behind a proxy that speaks TLS`,
    }))
}
