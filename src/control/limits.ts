import { z } from 'zod'
import { GatewayError } from '#errors'
import type { LimitStanding, Limits, NanoUsd } from '#protocol'
import { EACH, PLATFORM } from '../store/limits.ts'
import type { LimitedKind, LimitsName, ScopeLimits } from '../store/limits.ts'
import type { Database } from '../store/schema.ts'
import { checkLimits, limits, limitsShape, readLimits, writeLimits } from './limit-shape.ts'
import { money, moment, notFound, page, pageOf, pageQuery, resource, usd } from './resource.ts'
import type { Principal, Resource } from './resource.ts'

export interface LimitsDeps {
  readonly get: (db: Database, name: LimitsName) => Promise<ScopeLimits | undefined>
  readonly list: (
    db: Database,
    filter: {
      readonly tenantIds: readonly string[]
      readonly kind?: LimitedKind
      readonly limit: number
      readonly after?: Pick<LimitsName, 'kind' | 'subject'>
    },
  ) => Promise<{ readonly rows: readonly ScopeLimits[]; readonly hasMore: boolean }>
  /** `undefined` takes them away. */
  readonly set: (
    db: Database,
    name: LimitsName,
    limits: Limits | undefined,
    at: number,
  ) => Promise<ScopeLimits | undefined>
  /** Limits were changed, and the change holds. */
  readonly changed: () => Promise<void>
  readonly findTenant: (db: Database, idOrName: string) => Promise<Named | undefined>
  readonly findApplication: (
    db: Database,
    tenantId: string,
    idOrName: string,
  ) => Promise<Named | undefined>
  /** How every limit stands of the scopes of a kind, or of one. Of keys, those with budgets. */
  readonly standing: (
    tenantId: string,
    scope: { readonly kind?: string; readonly subject?: string },
  ) => Promise<readonly LimitStanding[]>
  /** What is wrong with a model's name or a pattern of them, where it can mean none. */
  readonly unknownPattern: (pattern: string) => string | undefined
  readonly parseUsd: (text: string) => NanoUsd
  readonly formatUsd: (nanos: NanoUsd) => string
  /** Unix ms. */
  readonly now: () => number
}

interface Named {
  readonly id: string
  readonly name: string
}

const KINDS = ['platform', 'tenant', 'application', 'end_user', 'service', 'tag'] as const

const kind = z.enum(KINDS)

const subject = z
  .string()
  .min(1)
  .max(256)
  .meta({ description: 'Id or name of what is limited; `*`: each of the kind that has no own' })

const limitsRowShape = z
  .strictObject({
    id: z.string().meta({ description: 'kind/subject' }),
    object: z.literal('limits'),
    kind,
    subject: z.string(),
    limits: limitsShape,
    updated_at: moment,
    revision: z.int(),
  })
  .meta({ id: 'ScopeLimits' })

const standingShape = z
  .strictObject({
    id: z.string(),
    object: z.literal('limit.standing'),
    scope: z.enum([...KINDS, 'key']),
    scope_id: z.string(),
    name: z.string(),
    model: z.string().nullable().meta({ description: 'Only these models count; null: all' }),
    limit: z.string(),
    window: z.string().nullable(),
    max: z.union([z.string(), money]),
    used: z.union([z.string(), money]).meta({ description: 'With what is held' }),
    remaining: z.union([z.string(), money]),
    reserved: money.nullable().meta({ description: 'Of a budget: held by requests under way' }),
    resets_at: moment.nullable(),
    policy: z.enum(['hard', 'soft']).nullable(),
    status: z.enum(['ok', 'warn', 'blocked', 'soft-exceeded']).nullable(),
  })
  .meta({ id: 'LimitStanding' })

const byName = z.strictObject({ kind, subject })

function unlimited({ kind: of, subject: one }: z.infer<typeof byName>): GatewayError {
  return new GatewayError('not_found', `No limits are set for ${of}/${one.slice(0, 100)}`)
}

export function limitResources(deps: LimitsDeps): readonly Resource[] {
  const write = (row: ScopeLimits): z.input<typeof limitsRowShape> => ({
    id: `${row.kind}/${row.subject}`,
    object: 'limits',
    kind: row.kind,
    subject: row.subject,
    limits: writeLimits(row.limits, deps.formatUsd),
    updated_at: new Date(row.updatedAt).toISOString(),
    revision: row.revision,
  })

  /**
   * Whose limits are meant. A tenant's own are the platform's to set: it could not cap it else.
   *
   * @throws GatewayError `not_found`, `permission_denied`
   */
  async function nameOf(
    db: Database,
    principal: Principal,
    given: z.infer<typeof byName>,
    isChange: boolean,
  ): Promise<LimitsName> {
    const { tenantId, isPlatform } = principal
    if (given.kind === 'platform' || (given.kind === 'tenant' && given.subject === EACH)) {
      if (!isPlatform) throw unlimited(given)
      const one = given.kind === 'platform' ? 'platform' : EACH
      return { tenantId: PLATFORM, kind: given.kind, subject: one }
    }
    if (given.kind === 'tenant') {
      const tenant = await deps.findTenant(db, given.subject)
      if (tenant === undefined || (!isPlatform && tenant.id !== tenantId)) {
        throw notFound('tenant', given.subject)
      }
      if (isChange && !isPlatform) {
        throw new GatewayError(
          'permission_denied',
          'The limits of a tenant are set by the platform',
        )
      }
      return { tenantId: tenant.id, kind: given.kind, subject: tenant.id }
    }
    if (given.kind === 'application' && given.subject !== EACH) {
      const application = await deps.findApplication(db, tenantId, given.subject)
      if (application === undefined) throw notFound('application', given.subject)
      return { tenantId, kind: given.kind, subject: application.id }
    }
    if (given.kind === 'tag' && !/^(\*|[\w.:/-]{1,64})$/.test(given.subject)) {
      throw new GatewayError(
        'invalid_value',
        'expected letters, digits and . : / - _, at most 64',
        {
          param: 'subject',
        },
      )
    }
    const name = given.kind === 'tag' ? given.subject.toLowerCase() : given.subject
    return { tenantId, kind: given.kind, subject: name }
  }

  const writeStanding = (one: LimitStanding): z.input<typeof standingShape> => {
    const { scope, limit, window, max, remaining, budget } = one
    const shown = (value: bigint): string | z.infer<typeof money> =>
      budget === undefined ? String(value) : usd(value, deps.formatUsd)
    return {
      id: [scope.kind, scope.id, scope.model, limit, window]
        .filter((part) => part !== undefined)
        .join('/'),
      object: 'limit.standing',
      scope: scope.kind,
      scope_id: scope.id,
      name: scope.name,
      model: scope.model ?? null,
      limit,
      window: window ?? null,
      max: shown(max),
      used: shown(budget === undefined ? max - remaining : budget.settled + budget.reserved),
      remaining: shown(remaining),
      reserved: budget === undefined ? null : usd(budget.reserved, deps.formatUsd),
      resets_at: one.resetsAt === undefined ? null : new Date(one.resetsAt).toISOString(),
      policy: budget?.policy ?? null,
      status: budget?.status ?? null,
    }
  }

  return [
    resource({
      method: 'get',
      path: '/admin/v1/limits',
      permission: 'limits.read',
      summary: 'Limits of all but keys, by kind and subject',
      query: z.strictObject({ ...pageQuery, kind: kind.optional() }),
      response: pageOf(limitsRowShape),
      async handle({ principal, query, db }) {
        const [first, ...rest] = query.after?.split('/') ?? []
        const after = kind.safeParse(first)
        const { rows, hasMore } = await deps.list(db, {
          tenantIds: [principal.tenantId, ...(principal.isPlatform ? [PLATFORM] : [])],
          limit: query.limit,
          ...(query.kind !== undefined && { kind: query.kind }),
          ...(after.success && { after: { kind: after.data, subject: rest.join('/') } }),
        })
        return { body: page(rows.map(write), hasMore) }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/limits/standing',
      permission: 'limits.read',
      summary: 'How limits stand now: used, held, left, and when they are full again',
      query: z.strictObject({
        kind: z.enum([...KINDS, 'key']).optional(),
        subject: subject.optional(),
        budgets: z.stringbool().default(false).meta({ description: 'Money alone' }),
      }),
      response: pageOf(standingShape),
      async handle({ principal, query, db }) {
        let { subject: one } = query
        const { kind: of } = query
        if (of === 'key' && one === undefined) {
          throw new GatewayError('invalid_value', 'name the key as subject', { param: 'subject' })
        }
        if (of !== undefined && of !== 'key' && (one !== undefined || of === 'platform')) {
          one = (await nameOf(db, principal, { kind: of, subject: one ?? of }, false)).subject
        }
        const standing = await deps.standing(principal.tenantId, {
          ...(of !== undefined && { kind: of }),
          ...(one !== undefined && { subject: one }),
        })
        const seen = standing.filter(
          ({ scope, limit }) =>
            (principal.isPlatform || scope.kind !== 'platform') &&
            (limit === 'budget' || !query.budgets),
        )
        return { body: page(seen.map(writeStanding), false) }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/limits/{kind}/{subject}',
      permission: 'limits.read',
      summary: 'The limits set for one subject, or for each of a kind',
      params: byName,
      response: limitsRowShape,
      async handle({ principal, params, db }) {
        const row = await deps.get(db, await nameOf(db, principal, params, false))
        if (row === undefined) throw unlimited(params)
        return { body: write(row), version: row.revision }
      },
    }),
    resource({
      method: 'put',
      path: '/admin/v1/limits/{kind}/{subject}',
      permission: 'limits.write',
      summary: 'Set all limits of one subject, or of each of a kind that has no own',
      params: byName,
      body: limits,
      response: limitsRowShape,
      async handle({ principal, params, body, db, expectVersion }) {
        const name = await nameOf(db, principal, params, true)
        const before = await deps.get(db, name)
        expectVersion(before?.revision ?? 0)
        const wanted = readLimits(body, deps.parseUsd)
        checkLimits(wanted, before?.limits, { unknownModel: deps.unknownPattern, now: deps.now })
        if (name.kind === 'service' && name.subject !== EACH && before === undefined) {
          const wrong = deps.unknownPattern(name.subject)
          if (wrong !== undefined) {
            throw new GatewayError('invalid_value', wrong, { param: 'subject' })
          }
        }
        const row = await deps.set(db, name, wanted, deps.now())
        if (row === undefined) throw unlimited(params)
        const after = write(row)
        const id = after.id
        return {
          body: after,
          version: row.revision,
          changes: [{ type: 'limits', id, ...(before && { before: write(before) }), after }],
          committed: deps.changed,
        }
      },
    }),
    resource({
      method: 'delete',
      path: '/admin/v1/limits/{kind}/{subject}',
      permission: 'limits.write',
      summary: 'Take the limits of a subject away; a default of its kind holds again',
      params: byName,
      response: limitsRowShape,
      async handle({ principal, params, db, expectVersion }) {
        const name = await nameOf(db, principal, params, true)
        const before = await deps.get(db, name)
        if (before === undefined) throw unlimited(params)
        expectVersion(before.revision)
        await deps.set(db, name, undefined, deps.now())
        const shown = write(before)
        return {
          body: shown,
          changes: [{ type: 'limits', id: shown.id, before: shown }],
          committed: deps.changed,
        }
      },
    }),
  ]
}
