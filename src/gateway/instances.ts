import type { Provider, ProviderInstance } from '#protocol'
import { providers } from '../../providers/index.ts'
import { CHAT_MODELS, EMBEDDING_MODEL } from '../../providers/simulator/server.ts'
import { credentialOf, kindsOfEnvironment } from '../config.ts'
import type { ConfigChecks, PriceSetting, ProviderSetting } from '../config.ts'
import { readRates } from '../metering/price-rates.ts'
import { parseRanges } from '../routing/rights.ts'
import { checkBaseUrl } from '../upstream/egress.ts'

/** What the simulator serves; a `*` at the end stands for any text. */
export const SIMULATOR_MODELS: readonly string[] = [...CHAT_MODELS, EMBEDDING_MODEL, 'fault/*']

/** What `loadConfig` checks the settings by, so that what it lets pass can be started. */
export const configChecks: ConfigChecks = {
  kinds: providers,
  builtIn: new Map([['simulator', SIMULATOR_MODELS]]),
  checkAddress(baseUrl, allowPrivateNetwork) {
    checkBaseUrl(baseUrl, { allowPrivateNetwork })
  },
  checkRanges(ranges) {
    parseRanges(ranges)
  },
  checkPrice(price) {
    readRates('rates', price)
  },
}

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
 * The providers of the settings, as `loadConfig` checked them, then those whose variables are set
 * in the environment.
 */
export function configureProviders({
  kinds,
  settings,
  env,
  knownModels,
}: InstanceSources): readonly Configured[] {
  const fromFile = Object.entries(settings).map(([name, setting]): Configured => {
    const provider = kinds.get(setting.kind ?? name)
    const baseUrl = setting.base_url ?? provider?.baseUrl
    if (provider === undefined || baseUrl === undefined) {
      throw new Error(`providers.${name} is not as loadConfig lets it pass`)
    }
    const credential = setting.api_key ?? credentialOf(provider, env)
    return {
      source: 'file',
      prices: setting.prices ?? {},
      instance: {
        name,
        provider,
        baseUrl: baseUrl.replace(/\/+$/, ''),
        headers: setting.headers ?? {},
        allowPrivateNetwork: setting.allow_private_network ?? false,
        models: setting.models ?? knownModels(provider.id),
        closed: false,
        ...(credential === undefined ? {} : { credential }),
      },
    }
  })
  const fromEnvironment = kindsOfEnvironment(kinds, settings, env).flatMap((id): Configured[] => {
    const provider = kinds.get(id)
    const credential = provider && credentialOf(provider, env)
    if (provider?.baseUrl === undefined || credential === undefined) return []
    return [
      {
        source: 'environment',
        prices: {},
        instance: {
          name: id,
          provider,
          baseUrl: provider.baseUrl,
          credential,
          headers: {},
          allowPrivateNetwork: false,
          models: knownModels(id),
          closed: false,
        },
      },
    ]
  })
  return [...fromFile, ...fromEnvironment]
}
