import type { Provider, Target } from './provider.ts'

/** A provider as the operator configured it. */
export interface ProviderInstance {
  /** `openai`, `claude`, `llama`: the part before the slash of a model name. */
  readonly name: string
  readonly provider: Provider
  readonly baseUrl: string
  readonly credential?: string
  readonly headers: Readonly<Record<string, string>>
  readonly allowPrivateNetwork: boolean
  /** Models it is known to serve; others may be asked for by `provider/model`. */
  readonly models: readonly string[]
  /** Whether only `models` exist, so that any other name is a mistake. */
  readonly closed: boolean
}

/** A target with all it takes to ask it. */
export interface Candidate {
  /** `provider/model`, the canonical name that rights and prices go by. */
  readonly name: string
  readonly instance: ProviderInstance
  readonly target: Target
}

export interface Route {
  /** The route's name, or `provider/model` where the caller named a target directly. */
  readonly name: string
  readonly strategy: 'ordered' | 'weighted' | 'least-latency' | 'least-cost'
  readonly targets: readonly (Candidate & { readonly weight: number })[]
  readonly fallbacks: readonly Candidate[]
}
