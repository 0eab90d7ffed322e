import { z } from 'zod'
import { GatewayError } from '#errors'
import type { Key } from '#protocol'
import type { Database } from '../store/schema.ts'
import { keyShape, writeKey } from './key-view.ts'
import type { KeyViewDeps } from './key-view.ts'
import { moment, resource } from './resource.ts'
import type { Change, Resource } from './resource.ts'

/** Why a key is disabled that someone found where it should not be. */
export const LEAKED = 'leaked'

/** Which keys are meant, of those that are not revoked. */
export interface KeySelection {
  readonly prefix?: string
  readonly applicationId?: string
  readonly userId?: string
  /** Unix ms, inclusive. */
  readonly createdFrom?: number
  /** Unix ms, exclusive. */
  readonly createdTo?: number
}

export interface RevocationDeps {
  /** Oldest first. */
  readonly select: (
    db: Database,
    tenantId: string,
    selection: KeySelection,
    limit: number,
  ) => Promise<{ readonly count: number; readonly keys: readonly Key[] }>
  readonly revoke: (
    db: Database,
    tenantId: string,
    ids: readonly string[],
    reason: string | undefined,
  ) => Promise<readonly Key[]>
  /** The key that a whole secret opens, of whichever tenant. */
  readonly findReported: (db: Database, secret: string) => Promise<Key | undefined>
  /** Requests since, by key; those without any are left out. */
  readonly requestsSince: (
    db: Database,
    ids: readonly string[],
    since: number,
  ) => Promise<ReadonlyMap<string, number>>
  /** @throws GatewayError `invalid_value` where the tenant has none of this id or name */
  readonly applicationId: (db: Database, tenantId: string, idOrName: string) => Promise<string>
}

interface Deps extends KeyViewDeps, RevocationDeps {
  readonly changed: (key: Key) => void
  readonly update: (
    db: Database,
    tenantId: string,
    id: string,
    changes: { readonly status: Key['status']; readonly statusReason: string },
  ) => Promise<{ readonly key: Key } | undefined>
}

/** Most keys revoked by one call, so that none holds the database up for long. */
const MOST_REVOKED = 1000

const HOUR_MS = 3_600_000

export function revocationResources(
  deps: Deps,
  describe: (before: Key, after: Key) => Change,
): readonly Resource[] {
  return [
    resource({
      method: 'post',
      path: '/admin/v1/keys/revoke',
      permission: 'keys.write',
      summary: `Revoke every key that all of the conditions name, ${MOST_REVOKED} at a time; or, as a dry run, show which`,
      body: z
        .strictObject({
          // A whole key does not fit: it has no business in a request that may be logged.
          prefix: z
            .string()
            .regex(
              /^sk-tg-[a-z][a-z0-9]{0,11}(-[0-9A-Za-z]{0,8})?$/,
              'expected the beginning of keys, such as sk-tg-test- or sk-tg-live-AbCd',
            )
            .optional(),
          application_id: z.string().min(1).max(100).optional(),
          owner_id: z.string().min(1).max(100).optional(),
          created_from: moment.optional(),
          created_to: moment.optional(),
          reason: z.string().trim().min(1).max(200).optional(),
          dry_run: z.boolean().default(false),
          expected: z.int().min(0).optional().meta({
            description: 'How many the dry run named: with another number nothing is revoked',
          }),
        })
        .meta({ id: 'KeyRevocation' }),
      response: z.strictObject({
        object: z.literal('key_revocation'),
        dry_run: z.boolean(),
        count: z.int().meta({ description: 'Of all keys meant, revoked by this call or not' }),
        used_last_hour: z.int().meta({ description: 'Of the keys listed' }),
        data: z.array(keyShape.extend({ requests_last_hour: z.int() })),
        has_more: z.boolean().meta({ description: 'Ask again for the rest' }),
      }),
      async handle({ principal: { tenantId }, body, db }) {
        const selection = await readSelection(db, tenantId, body)
        const { count, keys } = await deps.select(db, tenantId, selection, MOST_REVOKED)
        if (body.expected !== undefined && body.expected !== count) {
          throw new GatewayError(
            'conflict',
            `${count} keys are meant by now, not ${body.expected}: nothing was revoked`,
          )
        }
        const ids = keys.map(({ id }) => id)
        const used = await deps.requestsSince(db, ids, deps.now() - HOUR_MS)
        const revoked = body.dry_run ? [] : await deps.revoke(db, tenantId, ids, body.reason)
        const shown = body.dry_run ? keys : revoked
        return {
          body: {
            object: 'key_revocation',
            dry_run: body.dry_run,
            count,
            used_last_hour: used.size,
            data: shown.map((key) => ({
              ...writeKey(key, deps),
              requests_last_hour: used.get(key.id) ?? 0,
            })),
            has_more: count > keys.length,
          },
          changes: revoked.map((after) =>
            describe(keys.find(({ id }) => id === after.id) ?? after, after),
          ),
          committed() {
            for (const key of revoked) deps.changed(key)
          },
        }
      },
    }),
    resource({
      method: 'post',
      path: '/admin/v1/keys/leaks',
      permission: 'keys.write',
      summary: 'Freeze keys that were found where they should not be; their open streams are cut',
      body: z.strictObject({
        tokens: z
          .array(
            z.strictObject({
              token: z.string().min(1).max(256).meta({ description: 'The whole key' }),
              url: z.string().max(2000).optional(),
              source: z.string().max(100).optional(),
            }),
          )
          .min(1)
          .max(100)
          .meta({ description: 'As secret scanners report them' }),
      }),
      response: z.strictObject({
        object: z.literal('list'),
        data: z.array(
          z.strictObject({
            status: z.enum(['frozen', 'over', 'unknown']).meta({
              description:
                '`over`: it was disabled, revoked or expired before; `unknown`: no key of this tenant',
            }),
            key_id: z.string().nullable(),
          }),
        ),
      }),
      async handle({ principal: { tenantId }, body, db }) {
        const frozen: { readonly before: Key; readonly after: Key }[] = []
        const data: { status: string; key_id: string | null }[] = []
        for (const { token } of body.tokens) {
          const found = await deps.findReported(db, token)
          const key = found?.tenantId === tenantId ? found : undefined
          const froze = key && (await freeze(db, key, deps))
          if (froze !== undefined) frozen.push(froze)
          data.push({
            status: key === undefined ? 'unknown' : froze === undefined ? 'over' : 'frozen',
            key_id: key?.id ?? null,
          })
        }
        return {
          body: { object: 'list', data },
          changes: frozen.map(({ before, after }) => describe(before, after)),
          committed() {
            for (const { after } of frozen) deps.changed(after)
          },
        }
      },
    }),
  ]

  async function readSelection(
    db: Database,
    tenantId: string,
    body: {
      readonly prefix?: string | undefined
      readonly application_id?: string | undefined
      readonly owner_id?: string | undefined
      readonly created_from?: string | undefined
      readonly created_to?: string | undefined
    },
  ): Promise<KeySelection> {
    const { prefix, application_id, owner_id, created_from, created_to } = body
    const selection = {
      ...(prefix !== undefined && { prefix }),
      ...(application_id !== undefined && {
        applicationId: await deps.applicationId(db, tenantId, application_id),
      }),
      ...(owner_id !== undefined && { userId: owner_id }),
      ...(created_from !== undefined && { createdFrom: Date.parse(created_from) }),
      ...(created_to !== undefined && { createdTo: Date.parse(created_to) }),
    }
    if (Object.keys(selection).length > 0) return selection
    const message =
      'Say which keys: by prefix, application_id, owner_id, created_from or created_to'
    throw new GatewayError('invalid_value', message, { param: 'prefix' })
  }
}

/** Disables a key as leaked. @returns undefined where it did not work any more */
export async function freeze(
  db: Database,
  key: Key,
  { update, now }: Pick<Deps, 'update' | 'now'>,
): Promise<{ readonly before: Key; readonly after: Key } | undefined> {
  if (key.status !== 'active') return undefined
  if (key.expiresAt !== undefined && key.expiresAt <= now()) return undefined
  const changes = { status: 'disabled', statusReason: LEAKED } as const
  const changed = await update(db, key.tenantId, key.id, changes)
  return changed && { before: key, after: changed.key }
}
