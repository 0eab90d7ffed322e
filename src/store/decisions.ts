import { join } from 'node:path'
import { sql } from 'kysely'
import type { Database, DecisionsTable } from './schema.ts'

/** A decision as it is kept: what it is found by, and the whole of it as JSON. */
export interface DecisionRow {
  /** Of the request. */
  readonly id: string
  readonly tenantId: string
  readonly applicationId: string
  readonly keyId: string
  readonly userId: string | null
  /** As the caller wrote it. */
  readonly model: string | null
  readonly target: string | null
  readonly status: number
  readonly errorCode: string | null
  readonly outcome: string
  readonly record: string
}

/** What all named here are; times in Unix ms, `to` exclusive. */
export interface DecisionFilter {
  readonly keyId?: string | undefined
  readonly applicationId?: string | undefined
  /** Who the key belongs to. */
  readonly userId?: string | undefined
  /** As asked for, or as it answered. */
  readonly model?: string | undefined
  readonly status?: number | undefined
  readonly code?: string | undefined
  readonly from?: number | undefined
  readonly to?: number | undefined
}

export interface Decisions {
  readonly add: (rows: readonly DecisionRow[]) => Promise<void>
  /** The records that pass, newest first. @param before only of older requests than this id */
  readonly list: (
    tenantId: string,
    filter: DecisionFilter,
    page: { readonly before?: string | undefined; readonly limit: number },
  ) => Promise<readonly string[]>
  readonly get: (tenantId: string, id: string) => Promise<string | undefined>
  /** @returns how many were older than a moment, Unix ms, and are gone; at most so many at once */
  readonly sweep: (before: number, most: number) => Promise<number>
  readonly close: () => Promise<void>
}

export interface DecisionsOptions {
  /** Where the file goes, on SQLite. */
  readonly dataDir: string
  /** The one with the ledger, where that is Postgres. */
  readonly shared?: Database | undefined
}

/** @throws GatewayError `unavailable` when the file cannot be opened */
export async function openDecisions({ dataDir, shared }: DecisionsOptions): Promise<Decisions> {
  const db = shared ?? (await openFile(join(dataDir, 'decisions.db')))
  return {
    add: (rows) => add(db, rows, shared !== undefined),
    list: (...args) => list(db, ...args),
    async get(tenantId, id) {
      const row = await db
        .selectFrom('decisions')
        .select('record')
        .where('tenant_id', '=', tenantId)
        .where('id', '=', id)
        .executeTakeFirst()
      return row?.record
    },
    async sweep(before, most) {
      const { numDeletedRows } = await db
        .deleteFrom('decisions')
        .where('id', 'in', (eb) =>
          eb
            .selectFrom('decisions')
            .select('id')
            .where('id', '<', idAt(before))
            .orderBy('id')
            .limit(most),
        )
        .executeTakeFirstOrThrow()
      return Number(numDeletedRows)
    },
    close: async () => (shared === undefined ? db.destroy() : undefined),
  }
}

async function openFile(file: string): Promise<Database> {
  const { openDecisionsFile } = await import('./decisions-file.ts')
  return openDecisionsFile(file)
}

const COLUMNS = [
  'id',
  'tenant_id',
  'application_id',
  'key_id',
  'user_id',
  'model',
  'target',
  'error_code',
  'outcome',
  'record',
  'status',
] as const satisfies readonly (keyof DecisionsTable)[]

/** One text for however many rows, so that the statement is made once and stays prepared. */
async function add(db: Database, rows: readonly DecisionRow[], isShared: boolean): Promise<void> {
  const given = JSON.stringify(
    rows.map((row) => [
      row.id,
      row.tenantId,
      row.applicationId,
      row.keyId,
      row.userId,
      writable(row.model),
      writable(row.target),
      row.errorCode,
      row.outcome,
      row.record,
      row.status,
    ]),
  )
  const source = isShared
    ? sql`json_array_elements(cast(${given} as json)) as given(value)`
    : sql`json_each(${given})`
  const values = COLUMNS.map((name, index) =>
    name === 'status'
      ? sql`cast(value ->> ${sql.raw(String(index))} as bigint)`
      : sql`value ->> ${sql.raw(String(index))}`,
  )
  await sql`insert into decisions (${sql.raw(COLUMNS.join(', '))})
    select ${sql.join(values)} from ${source} where true
    on conflict (id) do nothing`.execute(db)
}

/** Callers write what they like, and Postgres takes neither NUL nor half a character. */
function writable(text: string | null): string | null {
  return text === null ? null : text.toWellFormed().replaceAll('\0', '\uFFFD')
}

async function list(
  db: Database,
  tenantId: string,
  filter: DecisionFilter,
  { before, limit }: { readonly before?: string | undefined; readonly limit: number },
): Promise<readonly string[]> {
  const { keyId, applicationId, userId, model, status, code, from, to } = filter
  let query = db.selectFrom('decisions').select('record').where('tenant_id', '=', tenantId)
  if (keyId !== undefined) query = query.where('key_id', '=', keyId)
  if (applicationId !== undefined) query = query.where('application_id', '=', applicationId)
  if (userId !== undefined) query = query.where('user_id', '=', userId)
  if (model !== undefined) {
    const named = writable(model)
    query = query.where((eb) => eb.or([eb('model', '=', named), eb('target', '=', named)]))
  }
  if (status !== undefined) query = query.where('status', '=', BigInt(status))
  if (code !== undefined) query = query.where('error_code', '=', code)
  if (from !== undefined) query = query.where('id', '>=', idAt(from))
  if (to !== undefined) query = query.where('id', '<', idAt(to))
  if (before !== undefined) query = query.where('id', '<', before)
  const rows = await query.orderBy('id', 'desc').limit(limit).execute()
  return rows.map(({ record }) => record)
}

/** Where the ids of a moment begin. @param at Unix ms */
function idAt(at: number): string {
  return `req_${Math.max(0, at).toString(16).padStart(12, '0')}`
}
