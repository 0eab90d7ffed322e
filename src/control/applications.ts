import { z } from 'zod'
import { GatewayError } from '#errors'
import type { Database } from '../store/schema.ts'
import type { Application, ApplicationChanges } from '../store/tenants.ts'
import { moment, notFound, page, pageOf, pageQuery, resource } from './resource.ts'
import type { Reply, Resource } from './resource.ts'
import { checkSentBack } from './sent-back.ts'

export interface ApplicationsDeps {
  readonly list: (
    db: Database,
    tenantId: string,
    page: {
      limit: number
      after?: string
      status?: Application['status']
      ownerId?: string
      environment?: string
      tag?: string
    },
  ) => Promise<{ readonly applications: readonly Application[]; readonly hasMore: boolean }>
  readonly get: (db: Database, tenantId: string, id: string) => Promise<Application | undefined>
  /** @throws GatewayError `conflict` when the tenant has one of this name */
  readonly create: (
    db: Database,
    tenantId: string,
    wanted: ApplicationChanges & { readonly name: string },
  ) => Promise<Application>
  readonly update: (
    db: Database,
    tenantId: string,
    id: string,
    changes: ApplicationChanges,
  ) => Promise<Application | undefined>
  /** Told of every change, once it holds. */
  readonly changed: (application: Application) => void
  /** Id of the user that an id or an e-mail address means. */
  readonly findUser: (
    db: Database,
    tenantId: string,
    idOrEmail: string,
  ) => Promise<string | undefined>
}

const status = z.enum(['active', 'archived'])

const name = z
  .string()
  .regex(/^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u, 'expected letters, digits, blanks and . _ -')
  .refine((text) => !text.startsWith('app_'), 'app_ begins ids')

const environment = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,31}$/, 'expected a lower-case word such as production')

const tag = z
  .string()
  .regex(/^[\w.:/-]{1,64}$/, 'expected letters, digits and . : / - _, at most 64')
  .toLowerCase()

const settable = {
  name,
  description: z.string().trim().max(1000),
  owner_id: z
    .string()
    .min(1)
    .max(254)
    .nullable()
    .meta({ description: 'Id or e-mail address of the user who answers for it' }),
  environment: environment.nullable(),
  tags: z.array(tag).max(10).meta({ description: 'They stand on every entry of its keys' }),
}

const applicationShape = z
  .strictObject({
    id: z.string(),
    object: z.literal('application'),
    tenant_id: z.string(),
    name: z.string(),
    status,
    description: z.string(),
    owner_id: z.string().nullable(),
    environment: z.string().nullable(),
    tags: z.array(z.string()),
    created_at: moment,
  })
  .meta({ id: 'Application' })

const FIXED = ['id', 'object', 'tenant_id', 'status', 'created_at'] as const

const fixed = applicationShape.pick({
  id: true,
  object: true,
  tenant_id: true,
  status: true,
  created_at: true,
}).shape

const byId = z.strictObject({ id: z.string().min(1).max(100) })

export function applicationResources(deps: ApplicationsDeps): readonly Resource[] {
  async function change(
    db: Database,
    before: Application,
    changes: ApplicationChanges,
  ): Promise<Reply> {
    const after = await deps.update(db, before.tenantId, before.id, changes)
    if (after === undefined) throw notFound('application', before.id)
    return {
      body: write(after),
      version: after.revision,
      changes: [{ type: 'application', id: after.id, before: write(before), after: write(after) }],
      committed: () => deps.changed(after),
    }
  }

  async function find(db: Database, tenantId: string, id: string): Promise<Application> {
    const application = await deps.get(db, tenantId, id)
    if (application === undefined) throw notFound('application', id)
    return application
  }

  async function readChanges(
    db: Database,
    tenantId: string,
    body: SettableValues,
    current?: Application,
  ): Promise<ApplicationChanges> {
    return {
      ...(body.name !== undefined && { name: body.name }),
      ...(body.description !== undefined && { description: body.description }),
      ...(body.owner_id !== undefined && {
        ownerId: await ownerOf(db, tenantId, body.owner_id, current),
      }),
      ...(body.environment !== undefined && { environment: body.environment }),
      ...(body.tags !== undefined && { tags: [...new Set(body.tags)].toSorted() }),
    }
  }

  async function ownerOf(
    db: Database,
    tenantId: string,
    named: string | null,
    current: Application | undefined,
  ): Promise<string | null> {
    if (named === null || named === current?.ownerId) return named
    const id = await deps.findUser(db, tenantId, named)
    if (id !== undefined) return id
    const message = `There is no user ${named.slice(0, 100)}`
    throw new GatewayError('invalid_value', message, { param: 'owner_id' })
  }

  const turn = (verb: string, to: Application['status'], summary: string): Resource =>
    resource({
      method: 'post',
      path: `/admin/v1/applications/{id}/${verb}`,
      permission: 'applications.write',
      summary,
      params: byId,
      response: applicationShape,
      async handle({ principal, params, db, expectVersion }) {
        const application = await find(db, principal.tenantId, params.id)
        expectVersion(application.revision)
        return change(db, application, { status: to })
      },
    })

  return [
    resource({
      method: 'get',
      path: '/admin/v1/applications',
      permission: 'applications.read',
      summary: 'Applications, newest first',
      query: z.strictObject({
        ...pageQuery,
        status: status.optional(),
        owner: z.string().min(1).max(254).optional(),
        environment: environment.optional(),
        tag: tag.optional(),
      }),
      response: pageOf(applicationShape),
      async handle({ principal, query: { limit, ...query }, db }) {
        const { tenantId } = principal
        const ownerId =
          query.owner === undefined
            ? undefined
            : await ownerOf(db, tenantId, query.owner, undefined)
        const { applications, hasMore } = await deps.list(db, tenantId, {
          limit,
          ...(query.after === undefined ? {} : { after: query.after }),
          ...(query.status === undefined ? {} : { status: query.status }),
          ...(query.environment === undefined ? {} : { environment: query.environment }),
          ...(query.tag === undefined ? {} : { tag: query.tag }),
          ...(ownerId == null ? {} : { ownerId }),
        })
        return { body: page(applications.map(write), hasMore) }
      },
    }),
    resource({
      method: 'post',
      path: '/admin/v1/applications',
      permission: 'applications.write',
      summary: 'Create an application',
      body: z.strictObject({ ...z.strictObject(settable).partial().shape, name }),
      status: 201,
      response: applicationShape,
      async handle({ principal, body, db }) {
        const { tenantId } = principal
        const application = await deps.create(db, tenantId, {
          ...(await readChanges(db, tenantId, body)),
          name: body.name,
        })
        const after = write(application)
        return {
          status: 201,
          body: after,
          version: application.revision,
          changes: [{ type: 'application', id: application.id, after }],
          committed: () => deps.changed(application),
        }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/applications/{id}',
      permission: 'applications.read',
      summary: 'One application',
      params: byId,
      response: applicationShape,
      async handle({ principal, params, db }) {
        const application = await find(db, principal.tenantId, params.id)
        return { body: write(application), version: application.revision }
      },
    }),
    resource({
      method: 'patch',
      path: '/admin/v1/applications/{id}',
      permission: 'applications.write',
      summary: 'Change an application; what is not named stays',
      params: byId,
      body: z.strictObject({ ...settable, ...fixed }).partial(),
      response: applicationShape,
      async handle({ principal, params, body, db, expectVersion }) {
        const { tenantId } = principal
        const application = await find(db, tenantId, params.id)
        expectVersion(application.revision)
        checkSentBack(body, write(application), FIXED, { status: 'ask for /archive or /restore' })
        return change(db, application, await readChanges(db, tenantId, body, application))
      },
    }),
    turn(
      'archive',
      'archived',
      'Stop an application: its keys are refused at once, its streams cut, its history stays',
    ),
    turn('restore', 'active', 'Let an archived application work again'),
  ]
}

type SettableValues = {
  readonly [Name in keyof typeof settable]?: z.infer<(typeof settable)[Name]> | undefined
}

function write(application: Application): z.input<typeof applicationShape> {
  return {
    id: application.id,
    object: 'application',
    tenant_id: application.tenantId,
    name: application.name,
    status: application.status,
    description: application.description,
    owner_id: application.ownerId ?? null,
    environment: application.environment ?? null,
    tags: [...application.tags],
    created_at: new Date(application.createdAt).toISOString(),
  }
}
