import { z } from 'zod'
import { GatewayError } from '#errors'
import type { Credential } from '../store/credentials.ts'
import type { Database } from '../store/schema.ts'
import { moment, notFound, resource } from './resource.ts'
import type { Resource } from './resource.ts'

export interface CredentialsDeps {
  readonly list: (db: Database, tenantId: string) => Promise<readonly Credential[]>
  readonly set: (
    db: Database,
    tenantId: string,
    provider: string,
    secret: string,
  ) => Promise<Credential>
  readonly remove: (
    db: Database,
    tenantId: string,
    provider: string,
  ) => Promise<Credential | undefined>
  readonly rekey: (db: Database, tenantId: string) => Promise<number>
  readonly refresh: () => Promise<void>
  /** Names of the providers a tenant may bring a credential for. */
  readonly providers: readonly string[]
  readonly nearest: (name: string, known: Iterable<string>) => string | undefined
}

const shape = z
  .strictObject({
    id: z.string(),
    object: z.literal('provider_credential'),
    provider: z.string(),
    last4: z.string().meta({ description: 'Empty for a secret too short to show any of' }),
    created_at: moment,
  })
  .meta({ id: 'ProviderCredential' })

const byProvider = z.strictObject({ name: z.string().min(1).max(100) })

/** A tenant's own credentials: its requests go to the provider with them, and on its bill. */
export function credentialResources(deps: CredentialsDeps): readonly Resource[] {
  const find = async (db: Database, tenantId: string, provider: string) =>
    (await deps.list(db, tenantId)).find((one) => one.provider === provider)
  const committed = deps.refresh

  return [
    resource({
      method: 'get',
      path: '/admin/v1/credentials',
      permission: 'credentials.read',
      summary: "The tenant's own credentials for providers; never the secrets",
      response: z.strictObject({ object: z.literal('list'), data: z.array(shape) }),
      async handle({ principal, db }) {
        const all = await deps.list(db, principal.tenantId)
        return { body: { object: 'list', data: all.map(write) } }
      },
    }),
    resource({
      method: 'put',
      path: '/admin/v1/providers/{name}/credential',
      permission: 'credentials.write',
      summary: "Bring the tenant's own credential; it takes the operator's place at once",
      params: byProvider,
      body: z.strictObject({
        secret: z
          .string()
          .regex(/^[\x21-\x7e]{1,4096}$/, 'expected printable characters without blanks'),
      }),
      response: shape,
      async handle({ principal: { tenantId }, params, body, db, expectVersion }) {
        if (!deps.providers.includes(params.name)) throw unknown(params.name, deps)
        const before = await find(db, tenantId, params.name)
        if (before !== undefined) expectVersion(before.revision)
        const credential = await deps.set(db, tenantId, params.name, body.secret)
        const after = write(credential)
        return {
          body: after,
          version: credential.revision,
          changes: [
            {
              type: 'provider_credential',
              id: credential.id,
              ...(before !== undefined && { before: write(before) }),
              after,
            },
          ],
          committed,
        }
      },
    }),
    resource({
      method: 'delete',
      path: '/admin/v1/providers/{name}/credential',
      permission: 'credentials.write',
      summary:
        "Take the tenant's own credential away; the operator's is used again, if there is one",
      params: byProvider,
      response: shape,
      async handle({ principal, params, db }) {
        const removed = await deps.remove(db, principal.tenantId, params.name)
        if (removed === undefined) throw notFound('credential for', params.name)
        const before = write(removed)
        return {
          body: before,
          changes: [{ type: 'provider_credential', id: removed.id, before }],
          committed,
        }
      },
    }),
    resource({
      method: 'post',
      path: '/admin/v1/credentials/rekey',
      permission: 'credentials.write',
      summary: "Seal all of the tenant's credentials with a new key; requests go on meanwhile",
      response: z.strictObject({
        object: z.literal('credentials.rekeyed'),
        credentials: z.int(),
      }),
      async handle({ principal: { tenantId }, db }) {
        const credentials = await deps.rekey(db, tenantId)
        return {
          body: { object: 'credentials.rekeyed', credentials },
          changes:
            credentials === 0 ? [] : [{ type: 'data_key', id: tenantId, after: { credentials } }],
          committed,
        }
      },
    }),
  ]
}

function unknown(name: string, { providers, nearest }: CredentialsDeps): GatewayError {
  const near = nearest(name, providers)
  const hint = near === undefined ? `there are ${providers.join(', ')}` : `did you mean ${near}?`
  return new GatewayError('not_found', `There is no provider ${name.slice(0, 100)}; ${hint}`, {
    param: 'name',
  })
}

function write(credential: Credential): z.input<typeof shape> {
  return {
    id: credential.id,
    object: 'provider_credential',
    provider: credential.provider,
    last4: credential.last4,
    created_at: new Date(credential.createdAt).toISOString(),
  }
}
