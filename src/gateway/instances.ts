import type { Provider, ProviderInstance } from '#protocol'
import type { PriceSetting, ProviderSetting } from '../config.ts'
import { checkBaseUrl } from '../upstream/egress.ts'

export interface InstanceSources {
  /** Every kind of provider, by its id. */
  readonly kinds: ReadonlyMap<string, Provider>
  readonly settings: Readonly<Record<string, ProviderSetting>>
  readonly env: Readonly<Record<string, string | undefined>>
  /** Models a kind of provider is known to serve. */
  readonly knownModels: (kind: string) => readonly string[]
}

/** A provider with where its configuration came from. */
export interface Configured {
  readonly instance: ProviderInstance
  readonly source: 'file' | 'environment' | 'built-in'
  readonly prices: Readonly<Record<string, PriceSetting>>
}

/**
 * The providers of the settings, then those whose variables are set in the environment.
 *
 * @throws Error naming the provider and what it lacks
 */
export function configureProviders({
  kinds,
  settings,
  env,
  knownModels,
}: InstanceSources): readonly Configured[] {
  const fromFile = Object.entries(settings).map(([name, setting]): Configured => {
    const provider = kinds.get(setting.kind ?? name)
    if (provider === undefined)
      throw new Error(`providers.${name}: "${setting.kind ?? name}" is not a kind of provider`)
    const baseUrl = setting.base_url ?? provider.baseUrl
    if (baseUrl === undefined)
      throw new Error(`providers.${name}: ${provider.name} has no usual address; set base_url`)
    const allowPrivateNetwork = setting.allow_private_network ?? false
    checkAddress(name, baseUrl, allowPrivateNetwork)
    const credential = setting.api_key ?? credentialOf(provider, env)
    return {
      source: 'file',
      prices: setting.prices ?? {},
      instance: {
        name,
        provider,
        baseUrl: baseUrl.replace(/\/+$/, ''),
        headers: setting.headers ?? {},
        allowPrivateNetwork,
        models: setting.models ?? knownModels(provider.id),
        closed: false,
        ...(credential === undefined ? {} : { credential }),
      },
    }
  })
  const configured = new Set(fromFile.map(({ instance }) => instance.provider.id))
  const fromEnvironment = [...kinds.values()].flatMap((provider): Configured[] => {
    const credential = credentialOf(provider, env)
    if (credential === undefined || provider.baseUrl === undefined) return []
    if (configured.has(provider.id) || Object.hasOwn(settings, provider.id)) return []
    return [
      {
        source: 'environment',
        prices: {},
        instance: {
          name: provider.id,
          provider,
          baseUrl: provider.baseUrl,
          credential,
          headers: {},
          allowPrivateNetwork: false,
          models: knownModels(provider.id),
          closed: false,
        },
      },
    ]
  })
  return [...fromFile, ...fromEnvironment]
}

function checkAddress(name: string, baseUrl: string, allowPrivateNetwork: boolean): void {
  try {
    checkBaseUrl(baseUrl, { allowPrivateNetwork })
  } catch (error) {
    throw new Error(`providers.${name}.base_url: ${(error as Error).message}`, { cause: error })
  }
}

function credentialOf(provider: Provider, env: InstanceSources['env']): string | undefined {
  for (const variable of provider.credentialVariables) {
    const value = env[variable]?.trim()
    if (value !== undefined && value !== '') return value
  }
  return undefined
}
