import type { IncomingMessage } from 'node:http'
import Router from '@koa/router'
import Koa from 'koa'
import type { Context } from 'koa'
import type { z } from 'zod'
import { GatewayError, asGatewayError } from '#errors'
import { analysisResources } from './control/analysis.ts'
import type { AnalysisDeps } from './control/analysis.ts'
import { applicationResources } from './control/applications.ts'
import { actionOf, objectOf } from './control/action.ts'
import { alertResources } from './control/alerts.ts'
import type { AlertResourcesDeps } from './control/alerts.ts'
import { auditResources } from './control/audit.ts'
import type { AuditDeps } from './control/audit.ts'
import { catalogueResources } from './control/catalogue.ts'
import type { CatalogueDeps } from './control/catalogue.ts'
import { credentialResources } from './control/credentials.ts'
import type { CredentialsDeps } from './control/credentials.ts'
import { costResources } from './control/costs.ts'
import type { CostsDeps } from './control/costs.ts'
import { keyResources } from './control/keys.ts'
import type { KeysDeps } from './control/keys.ts'
import { answeredOf } from './control/idempotency.ts'
import type { Answered, Idempotency } from './control/idempotency.ts'
import { describe } from './control/openapi.ts'
import { organizationResources } from './control/organization.ts'
import { logResources } from './control/logs.ts'
import type { LogsDeps } from './control/logs.ts'
import { limitResources } from './control/limits.ts'
import type { LimitsDeps } from './control/limits.ts'
import { priceResources } from './control/prices.ts'
import type { PricesDeps } from './control/prices.ts'
import { repriceResources } from './control/reprice.ts'
import type { RepriceDeps } from './control/reprice.ts'
import { KnownCaller } from './control/resource.ts'
import type { Change, Principal, Reply, Resource } from './control/resource.ts'
import { selfResources } from './control/self.ts'
import { systemResources } from './control/system.ts'
import type { SystemDeps } from './control/system.ts'
import { tenantResources } from './control/tenants.ts'
import { tokenResources } from './control/tokens.ts'
import { userResources } from './control/users.ts'
import { readBody } from './endpoints/body.ts'
import { writeError } from './endpoints/errors.ts'
import type { Identity } from './gateway/identity.ts'
import type { Principals } from './gateway/principals.ts'
import { accessLog } from './middleware/access-log.ts'
import type { Served } from './middleware/access-log.ts'
import { errors, strayErrors } from './middleware/errors.ts'
import { collect } from './middleware/read-request.ts'
import { requestId } from './middleware/request-id.ts'
import type { GatewayState } from './state.ts'
import { appendAudits } from './store/audit.ts'
import type { AuditDraft } from './store/audit.ts'
import type { Database } from './store/schema.ts'

export interface AdminDeps {
  readonly db: Database
  /** Where a request comes from, behind trusted proxies. */
  readonly addressOf: (request: IncomingMessage) => string
  readonly principalOf: Principals['of']
  readonly identity: Identity
  readonly idempotency: Idempotency
  readonly keys: KeysDeps
  readonly costs: CostsDeps
  readonly analysis: AnalysisDeps
  readonly catalogue: CatalogueDeps
  readonly limits: LimitsDeps
  readonly prices: PricesDeps
  readonly reprice: RepriceDeps
  readonly credentials: CredentialsDeps
  readonly alerts: AlertResourcesDeps
  readonly audit: AuditDeps
  readonly logs: LogsDeps
  readonly system: Omit<SystemDeps, 'openapi'>
  readonly served: (served: Served) => void
  readonly onFault: (error: GatewayError, requestId: string) => void
  readonly nearest: (name: string, known: Iterable<string>) => string | undefined
  /** Unix ms. */
  readonly now: () => number
  /** Milliseconds of a clock that never jumps. */
  readonly tick: () => number
}

const MAX_BODY_BYTES = 1024 * 1024

/** Every route of the control plane, each with the permission it needs. */
export function adminResources(deps: AdminDeps): readonly Resource[] {
  const resources: Resource[] = [
    ...selfResources(deps.identity.self),
    ...tenantResources(deps.identity.tenants),
    ...applicationResources(deps.identity.applications),
    ...userResources(deps.identity.users),
    ...tokenResources(deps.identity.tokens),
    ...keyResources(deps.keys),
    ...catalogueResources(deps.catalogue),
    ...limitResources(deps.limits),
    ...priceResources(deps.prices),
    ...repriceResources(deps.reprice),
    ...credentialResources(deps.credentials),
    ...costResources(deps.costs),
    ...analysisResources(deps.analysis),
    ...organizationResources(deps.costs),
    ...alertResources(deps.alerts),
    ...auditResources(deps.audit),
    ...logResources(deps.logs),
    ...systemResources({
      ...deps.system,
      openapi: () => describe(resources, deps.system.version),
    }),
  ]
  return resources
}

/** The control plane. */
export function createAdmin(deps: AdminDeps): Koa<GatewayState> {
  const resources = adminResources(deps)
  const paths = [...new Set(resources.map(({ path }) => path))]
  const app = new Koa<GatewayState>()
  app.use(requestId(deps))
  app.use(accessLog(deps))
  app.on('error', strayErrors(deps))
  app.use(errors({ writeError, onFault: deps.onFault }))

  const router = new Router<GatewayState>()
  for (const route of resources) {
    router.register(route.path.replaceAll(/\{(\w+)\}/g, ':$1'), [route.method], async (ctx) => {
      ctx.state.record.endpoint = route.path
      await answer(ctx as unknown as Context, route, deps)
    })
  }
  app.use(router.routes() as never)

  app.use(function unknown(ctx) {
    ctx.state.record.endpoint = 'unmatched'
    const allowed = resources
      .filter(({ path }) => matches(path, ctx.path))
      .map(({ method }) => method.toUpperCase())
    if (allowed.length > 0) {
      ctx.set('allow', allowed.join(', '))
      throw new GatewayError(
        'method_not_allowed',
        `${ctx.path} is for ${allowed.join(', ')}, not ${ctx.method}`,
      )
    }
    const near = deps.nearest(ctx.path, paths)
    const hint =
      near === undefined ? '/admin/v1/openapi.json lists the paths' : `did you mean ${near}?`
    throw new GatewayError(
      'unknown_url',
      `Nothing is served under ${ctx.path.slice(0, 100)}; ${hint}`,
    )
  })
  return app
}

function matches(path: string, asked: string): boolean {
  const wanted = path.split('/')
  const given = asked.split('/')
  return (
    wanted.length === given.length &&
    wanted.every((part, index) => part.startsWith('{') || part === given[index])
  )
}

async function answer(ctx: Context, route: Resource, deps: AdminDeps): Promise<void> {
  let principal: Principal | undefined
  try {
    principal = await principalOf(ctx, route, deps)
    await serve(ctx, route, principal, deps)
  } catch (thrown) {
    await noteRefusal(ctx, route, principal, asGatewayError(thrown), deps)
    throw thrown
  }
}

/** Denials, and changes that failed, stand in the audit too: in a transaction of their own. */
async function noteRefusal(
  ctx: Context,
  route: Resource,
  principal: Principal | undefined,
  error: GatewayError,
  deps: AdminDeps,
): Promise<void> {
  const { cause, status, code: errorCode } = error
  const caller = principal ?? (cause instanceof KnownCaller ? cause.principal : undefined)
  if (caller === undefined) {
    if (status === 401) deps.audit.unknownCaller(deps.addressOf(ctx.req))
    return
  }
  // Who was known and not let in, such as to another's tenant, was denied it.
  const isDenied = status === 403 || principal === undefined
  if (!isDenied && (!isChange(route) || ctx.query.dry_run === 'true')) return
  const draft = {
    ...draftOf(objectOf(route, ctx.params), ctx, route, caller, deps),
    outcome: isDenied ? ('denied' as const) : ('failed' as const),
    errorCode,
  }
  try {
    await deps.db
      .transaction()
      .execute((transaction) => appendAudits(transaction, caller.tenantId, [draft], deps.now()))
  } catch (lost) {
    deps.onFault(asGatewayError(lost), draft.requestId)
  }
}

async function serve(
  ctx: Context,
  route: Resource,
  principal: Principal,
  deps: AdminDeps,
): Promise<void> {
  const params = check(route.params, ctx.params, '')
  const query = check(route.query, queryOf(ctx, route), '')
  const body = route.body === undefined ? undefined : check(route.body, await readJson(ctx), '')
  const handle = (db: Database): Reply | Promise<Reply> =>
    route.handle({
      principal,
      params,
      query,
      body,
      db,
      expectVersion: (version: bigint | number) => expectVersion(ctx.get('if-match'), version),
    } as never)
  if (!isChange(route)) return send(ctx, answeredOf(await handle(deps.db)))

  const execute = async (
    keep?: (transaction: Database, answered: Answered) => Promise<void>,
  ): Promise<Answered> => {
    const reply = await deps.db.transaction().execute(async (transaction) => {
      const made = await change(transaction, route, handle, (changes) =>
        appendAudits(
          transaction,
          principal.tenantId,
          changes.map((one) => draftOf(one, ctx, route, principal, deps)),
          deps.now(),
        ),
      )
      await keep?.(transaction, answeredOf(made))
      if (isDryRun(ctx, route)) throw new DryRun(made)
      return made
    })
    await reply.committed?.()
    return answeredOf(reply)
  }
  if (isDryRun(ctx, route)) return send(ctx, await tried(ctx, execute))

  const key = route.method === 'post' ? ctx.get('idempotency-key') : ''
  if (key === '') return send(ctx, await execute())
  const asked = { params, query, body }
  const { answered, isReplay } = await deps.idempotency.answer(
    key,
    { principal, route, asked },
    execute,
  )
  if (isReplay) ctx.set('idempotent-replayed', 'true')
  send(ctx, answered)
}

function send(ctx: Context, { status, type, body, version }: Answered): void {
  ctx.set('cache-control', 'no-store')
  if (version !== undefined) ctx.set('etag', `"${version}"`)
  ctx.status = status
  ctx.type = type
  ctx.body = body
}

function isChange({ method, readOnly }: Resource): boolean {
  return method !== 'get' && readOnly !== true
}

/** Takes the transaction back, with the answer it would have had. */
class DryRun extends Error {
  readonly reply: Reply

  constructor(reply: Reply) {
    super('a dry run')
    this.reply = reply
  }
}

/** `?dry_run=true`: everything is checked and done, then taken back. Some routes have their own. */
function isDryRun(ctx: Context, route: Resource): boolean {
  const text = hasOwnDryRun(route) ? undefined : ctx.query.dry_run
  if (text === undefined || text === 'false') return false
  if (text === 'true') return true
  throw new GatewayError('invalid_value', 'dry_run is true or false', { param: 'dry_run' })
}

function hasOwnDryRun({ query, body }: Resource): boolean {
  return [query, body].some((schema) => schema !== undefined && 'dry_run' in schema.shape)
}

async function tried(ctx: Context, execute: () => Promise<Answered>): Promise<Answered> {
  try {
    return await execute()
  } catch (thrown) {
    if (!(thrown instanceof DryRun)) throw thrown
    ctx.set('x-tollgate-dry-run', 'true')
    const { reply } = thrown
    const { body } = reply
    // A secret that nothing will ever open is not to be taken for one.
    const hasSecret = typeof body === 'object' && body !== null && 'secret' in body
    return answeredOf(hasSecret ? { ...reply, body: { ...body, secret: '' } } : reply)
  }
}

/** All that a call changes with its records in the audit, or nothing. */
async function change(
  transaction: Database,
  route: Resource,
  handle: (db: Database) => Reply | Promise<Reply>,
  audit: (changes: readonly Change[]) => Promise<void>,
): Promise<Reply> {
  const reply = await handle(transaction)
  if (reply.changes === undefined) {
    throw new Error(`${route.method} ${route.path} does not say what it changed`)
  }
  await audit(reply.changes)
  return reply
}

function draftOf(
  { type, id, before, after }: Change,
  ctx: Context,
  route: Resource,
  principal: Principal,
  { addressOf }: AdminDeps,
): AuditDraft {
  return {
    actor: { type: principal.type, id: principal.id, name: principal.name },
    action: actionOf(route),
    resource: { type, id },
    outcome: 'ok',
    ...(before !== undefined && { before }),
    ...(after !== undefined && { after }),
    address: addressOf(ctx.req),
    userAgent: ctx.get('user-agent'),
    requestId: (ctx.state as GatewayState).requestId,
  }
}

/** `If-Match` as RFC 9110, section 13.1.1, has it. */
function expectVersion(ifMatch: string, version: bigint | number): void {
  if (ifMatch === '' || ifMatch.trim() === '*') return
  const named = ifMatch.split(',').map((tag) => tag.trim())
  if (named.includes(`"${version}"`)) return
  throw new GatewayError(
    'stale_version',
    `It is at version "${version}" by now; read it again, then change it`,
    { param: 'If-Match' },
  )
}

/** Who asks, and for which tenant: named in the header or the query. */
function principalOf(ctx: Context, route: Resource, deps: AdminDeps): Promise<Principal> {
  const inHeader = decoded(ctx.get('x-tollgate-tenant'))
  const inQuery = tenantsIn(ctx)
  return deps.principalOf({
    authorization: ctx.get('authorization'),
    // Several are for a filter, over all of them.
    tenants: isFilter(ctx, route) ? ['*'] : [inHeader, ...inQuery].filter((name) => name !== ''),
    route,
  })
}

/** What a route reads itself: not the tenant, unless several were named to choose among. */
function queryOf(ctx: Context, route: Resource): Record<string, unknown> {
  const { tenant, dry_run, ...query } = ctx.query
  return {
    ...query,
    ...(tenant !== undefined && isFilter(ctx, route) && { tenant }),
    ...(dry_run !== undefined && (!isChange(route) || hasOwnDryRun(route)) && { dry_run }),
  }
}

function isFilter(ctx: Context, { query }: Resource): boolean {
  return (
    query !== undefined && Object.hasOwn(query.shape, 'tenant') && new Set(tenantsIn(ctx)).size > 1
  )
}

function tenantsIn(ctx: Context): readonly string[] {
  return [ctx.query.tenant ?? []].flat().flatMap((names) => names.split(','))
}

/** A header is ASCII; a name need not be. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

async function readJson(ctx: Context): Promise<unknown> {
  const bytes = await collect(ctx.req, MAX_BODY_BYTES)
  if (bytes.length === 0) return {}
  if (!ctx.is('application/json')) {
    throw new GatewayError('unsupported_media_type', 'Send content-type: application/json')
  }
  return readBody(bytes).value
}

function check(schema: z.ZodObject | undefined, value: unknown, where: string): unknown {
  if (schema === undefined) return {}
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const extra = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined
  const param = [where, ...(issue?.path ?? []), extra]
    .filter((part) => part !== undefined && part !== '')
    .join('.')
  const message =
    extra === undefined
      ? (issue?.message ?? 'is wrong')
      : `is not known here; there are ${Object.keys(schema.shape).join(', ')}`
  throw new GatewayError('invalid_value', `${param || 'The request'}: ${message}`, {
    param: param || undefined,
  })
}
