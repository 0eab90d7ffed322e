import { type Kysely, sql } from 'kysely'
import type { DialectName } from './index.ts'

/**
 * Why: reports group by users, tags, prompts, end users and types of tokens, over ten million
 * entries. Sums name what they are of by the number of a cell; there are sums by day and by
 * end user beside those by hour.
 */
export async function up(db: Kysely<unknown>, dialect: DialectName): Promise<void> {
  const sqlite = dialect === 'sqlite'
  const int = sqlite ? sql`integer` : sql`bigint`
  const id = sqlite ? sql`text` : sql`text collate "C"`
  const strict = sqlite ? sql`strict` : sql``
  const clustered = sqlite ? sql`strict, without rowid` : sql``
  const number = sqlite
    ? sql`integer primary key`
    : sql`bigint generated always as identity primary key`

  let cells = db.schema
    .createTable('usage_cells')
    .addColumn('id', number)
    .addColumn('digest', id, (column) => column.notNull().unique())
    .addColumn('end_users', int, (column) => column.notNull())
  for (const name of CELL_COLUMNS) cells = cells.addColumn(name, id, (column) => column.notNull())
  await cells.modifyEnd(strict).execute()
  await index(db, 'usage_cells', ['tenant_id'])
  await index(db, 'usage_cells', ['key_id'])

  await db.schema
    .createTable('usage_cell_tags')
    .addColumn('cell', int, (column) => column.notNull())
    .addColumn('tag', id, (column) => column.notNull())
    .addPrimaryKeyConstraint('usage_cell_tags_pk', ['cell', 'tag'])
    .modifyEnd(clustered)
    .execute()
  await index(db, 'usage_cell_tags', ['tag'])

  await db.schema.dropTable('usage_hours').execute()
  for (const [table, keys] of [
    ['usage_hours', { tenant_id: id, hour: int, cell: int }],
    // By cell first: a report reads the cells it is about, in order, and nothing else.
    ['usage_days', { cell: int, day: int }],
    ['usage_end_users', { tenant_id: id, span: int, start: int, end_user: id, cell: int }],
  ] as const) {
    let sums = db.schema.createTable(table)
    for (const [name, type] of Object.entries(keys)) {
      sums = sums.addColumn(name, type, (column) => column.notNull())
    }
    const measures = table === 'usage_end_users' ? MEASURES.slice(0, 7) : MEASURES
    for (const name of measures) sums = sums.addColumn(name, int, (column) => column.notNull())
    await sums
      .addPrimaryKeyConstraint(`${table}_pk`, Object.keys(keys) as never[])
      .modifyEnd(clustered)
      .execute()
  }

  await sql`alter table entries add column cell ${int}`.execute(db)
  await sql`create index entries_by_adjusts on entries (adjusts) where adjusts is not null`.execute(
    db,
  )
  // Only SQLite falls behind.
  if (sqlite) await sql`insert into counters (name, value) values ('folded_seq', 0)`.execute(db)
  // Made by `sum-anew.ts` at the next start, which is this one.
  await sql`insert into meta (name, value) values ('sums', 'stale')`.execute(db)
}

async function index(db: Kysely<unknown>, table: string, columns: string[]): Promise<void> {
  await db.schema
    .createIndex(`${table}_by_${columns.join('_')}`)
    .on(table)
    .columns(columns)
    .execute()
}

const CELL_COLUMNS = [
  'tenant_id',
  'application_id',
  'key_id',
  'user_id',
  'environment',
  'provider',
  'model',
  'model_asked',
  'model_served',
  'prompt_id',
  'credential_id',
  'endpoint',
  'outcome',
  'tags',
]

const MEASURES = [
  'requests',
  'attempts',
  'cost_nanos',
  'unpriced',
  'estimated',
  'tokens_in',
  'tokens_out',
  'input_tokens',
  'cache_read_tokens',
  'cache_write_5m_tokens',
  'cache_write_1h_tokens',
  'input_audio_tokens',
  'input_image_tokens',
  'output_tokens',
  'reasoning_tokens',
  'output_audio_tokens',
  'output_image_tokens',
  'web_searches',
  'input_nanos',
  'cache_read_nanos',
  'cache_write_5m_nanos',
  'cache_write_1h_nanos',
  'input_audio_nanos',
  'input_image_nanos',
  'output_nanos',
  'reasoning_nanos',
  'output_audio_nanos',
  'output_image_nanos',
  'web_searches_nanos',
  'request_nanos',
]
