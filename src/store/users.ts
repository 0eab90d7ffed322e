import type { Insertable, Selectable } from 'kysely'
import { GatewayError } from '#errors'
import type { Database, UsersTable, UserTokensTable } from './schema.ts'
import { changingTenancy, lostCursor } from './tenants.ts'

/** A person who works with a tenant's data. Never deleted: names stay in history. */
export interface User {
  /** `user_...` */
  readonly id: string
  readonly tenantId: string
  readonly name: string
  /** In lower case; one user of a tenant has it. */
  readonly email: string
  readonly role: string
  readonly status: 'active' | 'disabled'
  /** Unix ms. */
  readonly createdAt: number
  readonly revision: number
}

/** What a person proves themselves with to the control plane; the secret itself is nowhere. */
export interface UserToken {
  /** `utok_...` */
  readonly id: string
  readonly tenantId: string
  readonly userId: string
  readonly name: string
  /** The public part it is looked up by. */
  readonly prefix: string
  readonly last4: string
  readonly status: 'active' | 'revoked'
  /** Unix ms. */
  readonly createdAt: number
  /** Unix ms; absent: never. */
  readonly expiresAt?: number
  /** Unix ms, to about a minute; absent: never. */
  readonly lastUsedAt?: number
  readonly revision: number
}

export type UserChanges = Partial<Pick<User, 'name' | 'email' | 'role' | 'status'>>

/** @throws GatewayError `conflict` when the tenant has a user of this address, a disabled one too */
export function insertUser(db: Database, user: Omit<User, 'revision'>): Promise<User> {
  return changingTenancy(db, async (transaction, revision) => {
    const row = await transaction
      .insertInto('users')
      .values({
        id: user.id,
        tenant_id: user.tenantId,
        name: user.name,
        email: user.email,
        role: user.role,
        status: user.status,
        created_at: user.createdAt,
        revision,
      })
      .onConflict((conflict) => conflict.doNothing())
      .returningAll()
      .executeTakeFirst()
    if (row === undefined) throw taken(user.email)
    return toUser(row)
  })
}

export async function getUser(
  db: Database,
  tenantId: string,
  id: string,
): Promise<User | undefined> {
  const row = await usersOf(db, tenantId).where('id', '=', id).executeTakeFirst()
  return row && toUser(row)
}

/**
 * Those an id, an address or a name means: an id or an address one at most, a name maybe several.
 */
export async function findUsers(
  db: Database,
  tenantId: string,
  reference: string,
): Promise<readonly User[]> {
  const rows = await usersOf(db, tenantId)
    .where((eb) =>
      eb.or([
        eb('id', '=', reference),
        eb('email', '=', reference.toLowerCase()),
        eb('name', '=', reference),
      ]),
    )
    .orderBy('id')
    .limit(10)
    .execute()
  const exact = rows.find(({ id, email }) => id === reference || email === reference.toLowerCase())
  return (exact === undefined ? rows : [exact]).map(toUser)
}

export interface UserPage {
  /** Newest first. */
  readonly users: readonly User[]
  readonly hasMore: boolean
}

/** @throws GatewayError `invalid_value` when `after` names no user of the tenant */
export async function listUsers(
  db: Database,
  tenantId: string,
  page: {
    readonly limit: number
    readonly after?: string
    readonly role?: string
    readonly status?: User['status']
  },
): Promise<UserPage> {
  let query = usersOf(db, tenantId)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
  if (page.role !== undefined) query = query.where('role', '=', page.role)
  if (page.status !== undefined) query = query.where('status', '=', page.status)
  if (page.after !== undefined) {
    const last = await getUser(db, tenantId, page.after)
    if (last === undefined) throw lostCursor('user')
    query = query.where((eb) =>
      eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(BigInt(last.createdAt), last.id)),
    )
  }
  const rows = await query.execute()
  return { users: rows.slice(0, page.limit).map(toUser), hasMore: rows.length > page.limit }
}

/**
 * @param lastingRole - of which a tenant keeps at least one active user, once it has one
 * @returns the user as it is now; `undefined` when the tenant has none of this id
 * @throws GatewayError `conflict` when the address is taken, or the last of that role would go
 */
export function updateUser(
  db: Database,
  tenantId: string,
  id: string,
  changes: UserChanges,
  lastingRole: string,
): Promise<User | undefined> {
  // Under the counter's lock: of two owners who end each other at once, one comes second.
  return changingTenancy(db, async (transaction, revision) => {
    const before = await getUser(transaction, tenantId, id)
    if (before === undefined) return undefined
    const { email } = changes
    if (email !== undefined) {
      const other = await usersOf(transaction, tenantId)
        .where('email', '=', email)
        .where('id', '!=', id)
        .executeTakeFirst()
      if (other !== undefined) throw taken(email)
    }
    const row = await transaction
      .updateTable('users')
      .set({ ...changes, revision } satisfies Partial<Insertable<UsersTable>>)
      .where('tenant_id', '=', tenantId)
      .where('id', '=', id)
      .returningAll()
      .executeTakeFirstOrThrow()
    const lasts = ({ role, status }: Pick<User, 'role' | 'status'>): boolean =>
      role === lastingRole && status === 'active'
    if (lasts(before) && !lasts(toUser(row))) {
      const left = await usersOf(transaction, tenantId)
        .where('role', '=', lastingRole)
        .where('status', '=', 'active')
        .limit(1)
        .executeTakeFirst()
      if (left === undefined) {
        throw new GatewayError(
          'conflict',
          `${before.name} is the last active ${lastingRole} of the tenant: make another one first`,
        )
      }
    }
    return toUser(row)
  })
}

/** A token with what proves it. */
export interface TokenRecord {
  readonly token: UserToken
  readonly digest: Uint8Array
}

/** @throws GatewayError `conflict` when its id or prefix is taken */
export function insertToken(
  db: Database,
  { token, digest }: { readonly token: Omit<UserToken, 'revision'>; readonly digest: Uint8Array },
): Promise<UserToken> {
  return changingTenancy(db, async (transaction, revision) => {
    const row = await transaction
      .insertInto('user_tokens')
      .values({
        id: token.id,
        tenant_id: token.tenantId,
        user_id: token.userId,
        name: token.name,
        prefix: token.prefix,
        digest,
        last4: token.last4,
        status: token.status,
        created_at: token.createdAt,
        expires_at: token.expiresAt ?? null,
        last_used_at: null,
        revision,
      })
      .onConflict((conflict) => conflict.doNothing())
      .returningAll()
      .executeTakeFirst()
    if (row === undefined) {
      throw new GatewayError('conflict', 'A token with this id or prefix exists')
    }
    return toToken(row)
  })
}

/** A token with its user, whatever their status. */
export async function findTokenByPrefix(
  db: Database,
  prefix: string,
): Promise<(TokenRecord & { readonly user: User }) | undefined> {
  const row = await db
    .selectFrom('user_tokens')
    .selectAll()
    .where('prefix', '=', prefix)
    .executeTakeFirst()
  if (row === undefined) return undefined
  const user = await getUser(db, row.tenant_id, row.user_id)
  return user && { token: toToken(row), digest: new Uint8Array(row.digest), user }
}

export async function getToken(
  db: Database,
  tenantId: string,
  userId: string,
  id: string,
): Promise<UserToken | undefined> {
  const row = await tokensOf(db, tenantId, userId).where('id', '=', id).executeTakeFirst()
  return row && toToken(row)
}

export interface TokenPage {
  /** Newest first. */
  readonly tokens: readonly UserToken[]
  readonly hasMore: boolean
}

/** @throws GatewayError `invalid_value` when `after` names no token of the user */
export async function listTokens(
  db: Database,
  tenantId: string,
  userId: string,
  page: { readonly limit: number; readonly after?: string },
): Promise<TokenPage> {
  let query = tokensOf(db, tenantId, userId)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
  if (page.after !== undefined) {
    const last = await getToken(db, tenantId, userId, page.after)
    if (last === undefined) throw lostCursor('token')
    query = query.where((eb) =>
      eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(BigInt(last.createdAt), last.id)),
    )
  }
  const rows = await query.execute()
  return { tokens: rows.slice(0, page.limit).map(toToken), hasMore: rows.length > page.limit }
}

/** For good. @returns the token as it is now; `undefined` when the user has none of this id */
export function revokeToken(
  db: Database,
  tenantId: string,
  userId: string,
  id: string,
): Promise<UserToken | undefined> {
  return changingTenancy(db, async (transaction, revision) => {
    const row = await transaction
      .updateTable('user_tokens')
      .set({ status: 'revoked', revision })
      .where('tenant_id', '=', tenantId)
      .where('user_id', '=', userId)
      .where('id', '=', id)
      .where('status', '!=', 'revoked')
      .returningAll()
      .executeTakeFirst()
    return row === undefined ? getToken(transaction, tenantId, userId, id) : toToken(row)
  })
}

/** Notes when tokens were last used; no change in the sense of their revision. */
export async function touchTokens(db: Database, uses: ReadonlyMap<string, number>): Promise<void> {
  for (const [id, at] of uses) {
    await db
      .updateTable('user_tokens')
      .set({ last_used_at: at })
      .where('id', '=', id)
      .where((eb) => eb.or([eb('last_used_at', 'is', null), eb('last_used_at', '<', BigInt(at))]))
      .execute()
  }
}

function usersOf(db: Database, tenantId: string) {
  return db.selectFrom('users').selectAll().where('tenant_id', '=', tenantId)
}

function tokensOf(db: Database, tenantId: string, userId: string) {
  return db
    .selectFrom('user_tokens')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('user_id', '=', userId)
}

function taken(email: string): GatewayError {
  return new GatewayError(
    'conflict',
    `The tenant has a user with the address ${email}, maybe a disabled one`,
    { param: 'email' },
  )
}

function toUser(row: Selectable<UsersTable>): User {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    name: row.name,
    email: row.email,
    role: row.role,
    status: row.status,
    createdAt: Number(row.created_at),
    revision: Number(row.revision),
  }
}

function toToken(row: Selectable<UserTokensTable>): UserToken {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    userId: row.user_id,
    name: row.name,
    prefix: row.prefix,
    last4: row.last4,
    status: row.status,
    createdAt: Number(row.created_at),
    ...(row.expires_at !== null && { expiresAt: Number(row.expires_at) }),
    ...(row.last_used_at !== null && { lastUsedAt: Number(row.last_used_at) }),
    revision: Number(row.revision),
  }
}
