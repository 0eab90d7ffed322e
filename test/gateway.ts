import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { openDataDir } from '../src/cli/data-dir.ts'
import { loadConfig } from '../src/config.ts'
import { startGateway } from '../src/gateway.ts'
import { configChecks } from '../src/gateway/instances.ts'

/** The gateway as `tollgate serve` starts it, in this process, on free ports. */
export interface TestGateway {
  readonly dataUrl: string
  readonly adminUrl: string
  /** The key of the first start: all models, no limits. Empty on a data directory used before. */
  readonly key: string
  readonly adminKey: string
  readonly dataDir: string
  /** Calls the control plane: `admin('GET', '/admin/v1/keys')`. */
  admin(method: string, path: string, body?: unknown): Promise<AdminReply>
  /** The ledger entries of one request, by its `x-request-id`; waits until so many are there. */
  entries(requestId: string, count?: number): Promise<readonly LedgerEntry[]>
  /** Stops as SIGTERM does, and removes the data directory unless it was given. */
  close(): Promise<void>
}

export interface AdminReply {
  readonly status: number
  // oxlint-disable-next-line typescript/no-explicit-any -- tests say what they expect of it
  readonly body: any
}

/** As the control plane shows it; the members the tests look at. */
export interface LedgerEntry {
  readonly attempt: number
  readonly provider: string
  readonly model: string
  readonly outcome: string
  readonly error_code: string | null
  readonly stream: boolean
  readonly usage: Readonly<Record<string, number>>
  readonly usage_source: string
  readonly cost_usd: string | null
}

export interface GatewayExtras {
  /** Kept when the gateway is closed; one of its own otherwise. */
  readonly dataDir?: string
  /** Files that the settings name are read, and read again when they change. */
  readonly files?: boolean
  /** Environment of the gateway; empty otherwise. */
  readonly env?: Readonly<Record<string, string>>
}

/** Longest wait for entries that are on their way to the ledger, ms. */
const LEDGER_WAIT_MS = 5000

/**
 * @param settings what `tollgate.yaml` would hold, as text or as the object it stands for
 * @throws ConfigError for settings that are not usable
 */
export async function openGateway(
  settings: string | object = {},
  extras: GatewayExtras = {},
): Promise<TestGateway> {
  const dataDir = extras.dataDir ?? mkdtempSync(join(tmpdir(), 'tollgate-'))
  const env = extras.env ?? {}
  // JSON is YAML.
  const file = typeof settings === 'string' ? settings : JSON.stringify(settings)
  const load = () =>
    loadConfig({
      flags: { config: 'tollgate.yaml', data_dir: dataDir, port: '0', admin_port: '0' },
      env,
      readFile(path) {
        if (path === 'tollgate.yaml') return file
        return extras.files && existsSync(path) ? readFileSync(path, 'utf8') : undefined
      },
      ...configChecks,
    })
  const config = load()
  const data = openDataDir(dataDir, {
    ...(config.admin_key !== undefined && { adminKey: config.admin_key }),
    ...(config.master_key !== undefined && { masterKey: config.master_key }),
  })
  const { adminKey } = data
  const gateway = await startGateway({
    config,
    version: '0.0.0-test',
    adminKey,
    masterKey: data.masterKey,
    ...(config.previous_master_key !== undefined && {
      previousMasterKey: config.previous_master_key,
    }),
    env,
    log: pino({ level: 'silent' }),
    ...(extras.files && { reload: load }),
    now: Date.now,
    tick: () => performance.now(),
    random: Math.random,
  })

  async function admin(method: string, path: string, body?: unknown): Promise<AdminReply> {
    const response = await fetch(gateway.adminUrl + path, {
      method,
      headers: {
        authorization: `Bearer ${adminKey}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    const json = /\/json/.test(response.headers.get('content-type') ?? '')
    return { status: response.status, body: json ? JSON.parse(text) : text }
  }

  async function entries(requestId: string, count = 1): Promise<readonly LedgerEntry[]> {
    const until = performance.now() + LEDGER_WAIT_MS
    for (;;) {
      const { status, body } = await admin('GET', `/admin/v1/requests/${requestId}`)
      if (status === 200 && body.data.length >= count) return body.data
      if (performance.now() > until) {
        throw new Error(`${requestId} has not ${count} ledger entries: ${JSON.stringify(body)}`)
      }
      await sleep(5)
    }
  }

  return {
    dataUrl: gateway.dataUrl,
    adminUrl: gateway.adminUrl,
    key: gateway.firstKey ?? '',
    adminKey,
    dataDir,
    admin,
    entries,
    async close() {
      await gateway.close()
      if (extras.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true })
    },
  }
}
