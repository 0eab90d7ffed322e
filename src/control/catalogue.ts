import { z } from 'zod'
import { notFound, resource } from './resource.ts'
import type { Resource } from './resource.ts'

export interface ProviderView {
  readonly name: string
  readonly kind: string
  readonly base_url: string
  readonly source: 'file' | 'environment' | 'built-in'
  readonly has_credential: boolean
  readonly allow_private_network: boolean
  readonly models: number
}

export interface ProviderTest {
  readonly ok: boolean
  readonly duration_ms: number
  /** Models the provider says it serves; absent when it failed. */
  readonly models?: readonly string[]
  readonly error?: { readonly code: string; readonly message: string }
}

export interface CatalogueDeps {
  readonly providers: () => readonly ProviderView[]
  /** Lists a provider's models, at no cost. Undefined: there is none of this name. */
  readonly test: (name: string) => Promise<ProviderTest | undefined>
  readonly models: () => readonly ModelView[]
}

export interface ModelView {
  readonly id: string
  /** What it leads to, in order. */
  readonly targets: readonly string[]
  readonly fallbacks: readonly string[]
  readonly strategy: string
  readonly context_tokens: number | null
  readonly max_output_tokens: number | null
  /** USD per million tokens, as decimals; null: unpriced. */
  readonly price: {
    readonly input: string
    readonly output: string
    readonly version: string
  } | null
}

const provider = z
  .strictObject({
    object: z.literal('provider'),
    name: z.string(),
    kind: z.string(),
    base_url: z.string(),
    source: z.enum(['file', 'environment', 'built-in']),
    has_credential: z.boolean(),
    allow_private_network: z.boolean(),
    models: z.int(),
  })
  .meta({ id: 'Provider' })

const test = z
  .strictObject({
    object: z.literal('provider.test'),
    ok: z.boolean(),
    duration_ms: z.int(),
    models: z.array(z.string()).optional(),
    error: z.strictObject({ code: z.string(), message: z.string() }).optional(),
  })
  .meta({ id: 'ProviderTest' })

const model = z
  .strictObject({
    object: z.literal('model'),
    id: z.string(),
    targets: z.array(z.string()),
    fallbacks: z.array(z.string()),
    strategy: z.string(),
    context_tokens: z.int().nullable(),
    max_output_tokens: z.int().nullable(),
    price: z
      .strictObject({ input: z.string(), output: z.string(), version: z.string() })
      .nullable(),
  })
  .meta({ id: 'Model' })

export function catalogueResources(deps: CatalogueDeps): readonly Resource[] {
  return [
    resource({
      method: 'get',
      path: '/admin/v1/providers',
      permission: 'providers.read',
      summary: 'Configured providers; credentials are never shown',
      response: z.strictObject({ object: z.literal('list'), data: z.array(provider) }),
      handle: () => ({
        body: {
          object: 'list',
          data: deps.providers().map((view) => ({ object: 'provider', ...view })),
        },
      }),
    }),
    resource({
      method: 'post',
      path: '/admin/v1/providers/{name}/test',
      readOnly: true,
      permission: 'providers.test',
      summary:
        'Ask a provider for its models: address, TLS and credential are tried, nothing is billed',
      params: z.strictObject({ name: z.string().max(64) }),
      response: test,
      async handle({ params }) {
        const result = await deps.test(params.name)
        if (result === undefined) throw notFound('provider', params.name)
        return { body: { object: 'provider.test', ...result } }
      },
    }),
    resource({
      method: 'get',
      path: '/admin/v1/models',
      permission: 'models.read',
      summary: 'Every name that can be asked for, what it leads to and what it costs',
      response: z.strictObject({ object: z.literal('list'), data: z.array(model) }),
      handle: () => ({
        body: { object: 'list', data: deps.models().map((view) => ({ object: 'model', ...view })) },
      }),
    }),
  ]
}
