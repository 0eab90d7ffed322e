import type { ColumnType, Generated, Kysely } from 'kysely'

/**
 * Every table, as the last migration leaves it.
 *
 * Integers are 64-bit and read as `bigint` on both databases. Times are Unix milliseconds,
 * money is nano-dollars, truth is 0 or 1, JSON is text.
 */
export interface Tables {
  audit_records: AuditRecordsTable
  audit_contents: AuditContentsTable
  audit_heads: AuditHeadsTable
  tenants: TenantsTable
  applications: ApplicationsTable
  users: UsersTable
  user_tokens: UserTokensTable
  keys: KeysTable
  key_uses: KeyUsesTable
  entries: EntriesTable
  usage_cells: UsageCellsTable
  usage_cell_tags: UsageCellTagsTable
  usage_hours: UsageHoursTable
  usage_days: UsageDaysTable
  usage_end_users: UsageEndUsersTable
  reservations: ReservationsTable
  instances: InstancesTable
  scope_states: ScopeStatesTable
  scope_limits: ScopeLimitsTable
  counters: CountersTable
  meta: MetaTable
  data_keys: DataKeysTable
  provider_credentials: ProviderCredentialsTable
  idempotent_calls: IdempotentCallsTable
  /** In the ledger's database on Postgres, on SQLite in a file of its own. */
  decisions: DecisionsTable
  prices: PricesTable
  price_policies: PricePoliciesTable
  price_versions: PriceVersionsTable
  repricings: RepricingsTable
  alert_events: AlertEventsTable
  alert_mutes: AlertMutesTable
  webhooks: WebhooksTable
  deliveries: DeliveriesTable
}

/** What every function of the store takes first. A transaction is one too. */
export type Database = Kysely<Tables>

type Int = ColumnType<bigint, number | bigint, number | bigint>
type DefaultedInt = ColumnType<bigint, number | bigint | undefined, number | bigint>
type OptionalInt = ColumnType<bigint | null, number | bigint | null, number | bigint | null>

export interface TenantsTable {
  id: string
  name: string
  /** IANA name; budgets and reports follow its calendar. Empty: the installation's. */
  time_zone: string
  created_at: Int
  status: Generated<'active' | 'archived'>
  currency: Generated<string>
  /** 1 is Monday, 7 Sunday. */
  week_starts_on: DefaultedInt
  /** Day of the calendar's month, 1 to 28. */
  month_starts_on: DefaultedInt
  settings: Generated<string>
  /** Of the change that last touched this row; see `counters.tenancy_revision`. */
  revision: DefaultedInt
}

export interface ApplicationsTable {
  id: string
  tenant_id: string
  name: string
  created_at: Int
  status: Generated<'active' | 'archived'>
  description: Generated<string>
  /** Empty: none was named. */
  environment: Generated<string>
  tags: Generated<string>
  owner_id: string | null
  /** See `counters.tenancy_revision`. */
  revision: DefaultedInt
}

export interface UsersTable {
  id: string
  tenant_id: string
  name: string
  /** In lower case. */
  email: string
  role: string
  status: 'active' | 'disabled'
  created_at: Int
  /** See `counters.tenancy_revision`. */
  revision: Int
}

/** What people prove themselves with to the control plane. */
export interface UserTokensTable {
  id: string
  tenant_id: string
  user_id: string
  name: string
  prefix: string
  digest: Uint8Array
  last4: string
  status: 'active' | 'revoked'
  created_at: Int
  expires_at: OptionalInt
  last_used_at: OptionalInt
  /** See `counters.tenancy_revision`. */
  revision: Int
}

export interface KeysTable {
  id: string
  tenant_id: string
  application_id: string
  name: string
  prefix: string
  digest: Uint8Array
  last4: string
  status: 'active' | 'disabled' | 'revoked'
  created_at: Int
  expires_at: OptionalInt
  models: string
  endpoints: string
  addresses: string
  limits: string
  strict: Int
  successor_id: string | null
  /** Of the first key of its line. */
  root_id: string
  owner_id: string | null
  /** JSON */
  tags: Generated<string>
  status_reason: string | null
  /** Of the change that last touched this key; see `counters.key_revision`. */
  revision: Int
}

/** Who uses a key, from where. */
export interface KeyUsesTable {
  key_id: string
  kind: 'total' | 'address' | 'agent' | 'refused'
  /** Empty for the total; `other` for all that came when there were too many. */
  value: string
  /** Unix ms. */
  first_seen: Int
  last_seen: Int
  count: Int
}

/** Counts of tokens, and of the searches billed beside them. */
interface UsageColumns {
  input_tokens: Int
  cache_read_tokens: Int
  cache_write_5m_tokens: Int
  cache_write_1h_tokens: Int
  input_audio_tokens: Int
  input_image_tokens: Int
  output_tokens: Int
  reasoning_tokens: Int
  output_audio_tokens: Int
  output_image_tokens: Int
  web_searches: Int
}

/** What the buckets cost; `null`: not known apart. Whatever no column has of `cost_nanos` neither. */
export interface CostColumns {
  input_nanos: OptionalInt
  cache_read_nanos: OptionalInt
  cache_write_5m_nanos: OptionalInt
  cache_write_1h_nanos: OptionalInt
  input_audio_nanos: OptionalInt
  input_image_nanos: OptionalInt
  output_nanos: OptionalInt
  reasoning_nanos: OptionalInt
  output_audio_nanos: OptionalInt
  output_image_nanos: OptionalInt
  web_searches_nanos: OptionalInt
  request_nanos: OptionalInt
}

/** The ledger. Append-only: triggers refuse anything but an insert. */
export interface EntriesTable extends UsageColumns, CostColumns {
  /** The order of the ledger; clocks are not. */
  seq: ColumnType<bigint, never, never>
  id: string
  kind: 'attempt' | 'adjustment'
  request_id: string
  attempt: Int
  tenant_id: string
  application_id: string
  key_id: string
  endpoint: string
  model_asked: string
  provider: string
  model: string
  model_served: string | null
  admitted_at: Int
  started_at: Int
  duration_ms: Int
  first_event_ms: OptionalInt
  stream: Int
  outcome: 'ok' | 'error' | 'timeout' | 'aborted' | 'crashed'
  error_code: string | null
  finish_reason: string | null
  end_user: string | null
  reported_total_tokens: OptionalInt
  usage_source: 'provider' | 'estimated' | 'none'
  cost_nanos: OptionalInt
  /** Before a discount; `null`: there was none. */
  list_cost_nanos: OptionalInt
  price_version: string | null
  user_id: string | null
  /** JSON, a list. */
  tags: string | null
  environment: string | null
  prompt_id: string | null
  credential_id: string | null
  adjusts: string | null
  reason: string | null
  cell: OptionalInt
}

/** What entries have in common that add up; empty texts for none. See `cells.ts`. */
export interface UsageCellsTable {
  id: ColumnType<bigint, never, never>
  digest: string
  /** 1: of entries that name an end user. */
  end_users: Int
  tenant_id: string
  application_id: string
  key_id: string
  user_id: string
  environment: string
  provider: string
  model: string
  model_asked: string
  model_served: string
  prompt_id: string
  credential_id: string
  endpoint: string
  outcome: string
  /** JSON, a list. */
  tags: string
}

/** The tags of a cell, one by one. */
export interface UsageCellTagsTable {
  cell: Int
  tag: string
}

/** Sums over entries. */
export interface MainColumns {
  /** First attempts, so that the sum over any grouping is the number of requests. */
  requests: Int
  attempts: Int
  cost_nanos: Int
  /** Attempts without a cost that no adjustment has priced. */
  unpriced: Int
  /** Entries whose usage is our estimate. */
  estimated: Int
  tokens_in: Int
  tokens_out: Int
}

export interface SumColumns extends MainColumns, UsageColumns {
  input_nanos: Int
  cache_read_nanos: Int
  cache_write_5m_nanos: Int
  cache_write_1h_nanos: Int
  input_audio_nanos: Int
  input_image_nanos: Int
  output_nanos: Int
  reasoning_nanos: Int
  output_audio_nanos: Int
  output_image_nanos: Int
  web_searches_nanos: Int
  request_nanos: Int
}

/** By UTC hour of admission. Written in the entries' own transaction: never behind. */
export interface UsageHoursTable extends SumColumns {
  tenant_id: string
  /** Unix ms of the hour's start. */
  hour: Int
  cell: Int
}

/** By UTC day of admission. */
export interface UsageDaysTable extends SumColumns {
  cell: Int
  /** Unix ms of the day's start. */
  day: Int
}

/** By end user, over spans of several lengths. */
export interface UsageEndUsersTable extends MainColumns {
  tenant_id: string
  /** In hours. */
  span: Int
  /** Unix ms, a multiple of the span. */
  start: Int
  end_user: string
  cell: Int
}

/** Attempts under way, for the one who finds them after a crash. */
export interface ReservationsTable {
  /** The id of the entry it will become. */
  id: string
  instance_id: string
  /** That entry as JSON, at its reserved bound. */
  entry: string
}

/** Processes that own reservations (Postgres). */
export interface InstancesTable {
  id: string
  /** By the database's clock. */
  lease_until: Int
}

/** Admission state shared between processes (Postgres). */
export interface ScopeStatesTable {
  id: string
  state: string
}

/** Limits of scopes other than keys. */
export interface ScopeLimitsTable {
  /** Empty: the platform's. */
  tenant_id: string
  kind: 'platform' | 'tenant' | 'application' | 'end_user' | 'service' | 'tag'
  /** `*`: for each of the kind that has none of its own. */
  subject: string
  /** JSON; `null`: taken away. */
  limits: string | null
  updated_at: Int
  /** Of the change that last touched this row; see `counters.limit_revision`. */
  revision: Int
}

export interface CountersTable {
  name:
    | 'folded_seq'
    | 'key_revision'
    | 'limit_revision'
    | 'tenancy_revision'
    | 'price_revision'
    | 'credential_revision'
  value: Int
}

export interface MetaTable {
  name: string
  value: string
}

/** Prices and discounts that people set. A trigger refuses to change anything but the end of one. */
export interface PricesTable {
  id: string
  /** `null`: for every tenant. */
  tenant_id: string | null
  /** Patterns. */
  provider: string
  model: string
  /** `null`: always was. */
  effective_from: OptionalInt
  /** Exclusive; `null`: no end. */
  effective_to: OptionalInt
  /** JSON; `null`: a discount. */
  rates: string | null
  /** Percent. */
  discount: string | null
  note: string
  source: string
  created_at: Int
  created_by: string
  /** Of the change that last touched this row; see `counters.price_revision`. */
  revision: Int
}

export interface PricePoliciesTable {
  tenant_id: string
  unpriced: 'refuse' | 'allow'
  /** See `counters.price_revision`. */
  revision: Int
}

/** Every price an entry was billed by. */
export interface PriceVersionsTable {
  version: string
  provider: string
  model: string
  /** JSON */
  description: string
  first_used_at: Int
}

/** Runs that price entries anew. */
export interface RepricingsTable {
  id: string
  status: 'running' | 'done' | 'failed' | 'interrupted'
  /** JSON */
  query: string
  result: string
  created_at: Int
  created_by: string
  updated_at: Int
}

/** One for each tenant that has secrets. */
export interface DataKeysTable {
  id: string
  tenant_id: string
  /** With the root key. */
  sealed: Uint8Array
  created_at: Int
}

/** Tenants' own credentials for providers; one that is active for each of both. */
export interface ProviderCredentialsTable {
  id: string
  tenant_id: string
  provider: string
  status: 'active' | 'removed'
  /** With the tenant's data key; empty once removed. */
  sealed: Uint8Array
  data_key_id: string
  last4: string
  created_at: Int
  /** See `counters.credential_revision`. */
  revision: Int
}

/** What operators are told of. */
export interface AlertEventsTable {
  id: string
  tenant_id: string
  type: string
  /** Of the tenant, unique: what it was that must be told only once. */
  once: string
  subject: string
  created_at: Int
  muted: Int
  data: string
}

export interface AlertMutesTable {
  tenant_id: string
  type: string
  /** Of the events; `*` for all. */
  subject: string
  /** Absent: until it is taken away. */
  until: OptionalInt
}

export interface WebhooksTable {
  id: string
  tenant_id: string
  name: string
  url: string
  /** JSON; `*` for all. */
  types: string
  /** Sealed JSON. */
  secrets: Uint8Array
  allow_private_network: Int
  status: 'active' | 'disabled'
  status_reason: string | null
  /** Of the first failure since something was delivered. */
  failing_since: OptionalInt
  created_at: Int
  revision: Int
}

/** What is to be sent, or was. */
export interface DeliveriesTable {
  id: string
  tenant_id: string
  webhook_id: string
  event_id: string
  status: 'pending' | 'delivered' | 'failed'
  attempts: Int
  /** When it may be claimed; a claim moves it on by its lease. */
  next_at: OptionalInt
  response_status: OptionalInt
  response_start: string | null
  error: string | null
  duration_ms: OptionalInt
  created_at: Int
}

/** The audit, a chain for each tenant. Append-only: triggers refuse anything but an insert. */
export interface AuditRecordsTable {
  tenant_id: string
  sequence: Int
  time: Int
  actor_type: string
  actor_id: string
  actor_name: string
  action: string
  resource_type: string
  resource_id: string
  outcome: 'ok' | 'denied' | 'failed'
  error_code: string | null
  before_hash: string | null
  after_hash: string | null
  address: string
  user_agent: string
  request_id: string
  previous_hash: string
  hash: string
}

/** What can be erased of a record; never changed otherwise. JSON is that of RFC 8785. */
export interface AuditContentsTable {
  tenant_id: string
  sequence: Int
  salt: string
  before: string | null
  after: string | null
}

/** How many records a chain has, and the hash of the last. */
export interface AuditHeadsTable {
  tenant_id: string
  count: Int
  hash: string
}

/** Answers of the control plane, for calls that come again. */
export interface IdempotentCallsTable {
  id: string
  fingerprint: string
  sealed: Uint8Array
  answered_at: Int
}

/** What was decided about requests; swept by age. */
export interface DecisionsTable {
  id: string
  tenant_id: string
  application_id: string
  key_id: string
  user_id: string | null
  model: string | null
  target: string | null
  status: Int
  error_code: string | null
  outcome: string
  record: string
}
