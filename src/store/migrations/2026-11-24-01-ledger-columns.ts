import { type Kysely, sql } from 'kysely'
import type { DialectName } from './index.ts'

/**
 * Why: an entry says on whose behalf it was made (user, tags, environment, prompt, credential),
 * what each part of its usage cost, and what an adjustment corrects.
 *
 * Entries of before have nothing in these columns.
 */
export async function up(db: Kysely<unknown>, dialect: DialectName): Promise<void> {
  const sqlite = dialect === 'sqlite'
  const int = sqlite ? sql`integer` : sql`bigint`
  const id = sqlite ? sql`text` : sql`text collate "C"`
  const columns = [
    ...['user_id', 'environment', 'prompt_id', 'credential_id', 'adjusts'].map((name) => [
      name,
      id,
    ]),
    ...['tags', 'reason'].map((name) => [name, sql`text`]),
    ...COSTS.map((name) => [name, int]),
  ] as const
  for (const [name, type] of columns) {
    await sql`alter table entries add column ${sql.ref(name as string)} ${type}`.execute(db)
  }
}

const COSTS = [
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
