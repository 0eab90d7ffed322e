import { GatewayError } from '#errors'
import type { Candidate, ProviderInstance, Route } from '#protocol'

export interface RouteDefinition {
  readonly strategy: Route['strategy']
  readonly targets: readonly { readonly model: string; readonly weight: number }[]
  readonly fallbacks: readonly string[]
}

export interface ModelFacts {
  readonly maxOutputTokens?: number
  readonly contextTokens?: number
}

export interface DirectoryOptions {
  readonly instances: readonly ProviderInstance[]
  readonly routes: Readonly<Record<string, RouteDefinition>>
  readonly facts: (instance: ProviderInstance, model: string) => ModelFacts | undefined
  readonly nearest: (name: string, known: Iterable<string>) => string | undefined
}

/** Turns the model a caller wrote into a route; the one place where names are resolved. */
export interface Directory {
  /**
   * A route's name wins over `provider/model`, that over a bare model which exactly one
   * provider serves.
   *
   * @throws GatewayError `model_not_found`
   */
  readonly resolve: (model: string) => Route
  /** The name of the route that a model leads to; the model itself where there is none. */
  readonly fullName: (model: string) => string
  /** Every name that can be asked for: routes first, then `provider/model`. */
  readonly names: () => readonly string[]
  readonly instances: ReadonlyMap<string, ProviderInstance>
}

/** Callers invent names without end; what is remembered of them must not grow with that. */
const MOST_REMEMBERED = 4096

/** @throws Error when a route names a provider that is not configured */
export function createDirectory({
  instances,
  routes,
  facts,
  nearest,
}: DirectoryOptions): Directory {
  const byName = new Map(instances.map((instance) => [instance.name, instance]))
  const serving = bareNames(instances)
  const named = new Map(
    Object.entries(routes).map(([name, definition]) => [name, routeOf(name, definition)]),
  )
  const direct = new Map<string, Route>()

  function candidate(name: string): Candidate | undefined {
    const slash = name.indexOf('/')
    const instance = slash < 0 ? undefined : byName.get(name.slice(0, slash))
    const model = name.slice(slash + 1)
    if (instance === undefined || model === '') return undefined
    if (
      instance.closed &&
      !instance.models.includes(model) &&
      !instance.models.some(isPatternOf(model))
    )
      return undefined
    return {
      name,
      instance,
      target: {
        provider: instance.name,
        model,
        baseUrl: instance.baseUrl,
        headers: instance.headers,
        ...(instance.credential === undefined ? {} : { credential: instance.credential }),
        ...facts(instance, model),
      },
    }
  }

  function routeOf(name: string, definition: RouteDefinition): Route {
    const known = (model: string): Candidate => {
      const found = candidate(model)
      if (found !== undefined) return found
      throw new Error(
        `models.${name}: "${model}" names no configured provider; known: ${[...byName.keys()].join(', ')}`,
      )
    }
    return {
      name,
      strategy: definition.strategy,
      targets: definition.targets.map(({ model, weight }) => ({ ...known(model), weight })),
      fallbacks: definition.fallbacks.map(known),
    }
  }

  function directRoute(model: string): Route | undefined {
    const owners = serving.get(model)
    const found =
      candidate(model) ?? (owners?.length === 1 ? candidate(`${owners[0]}/${model}`) : undefined)
    if (found === undefined) return undefined
    return {
      name: found.name,
      strategy: 'ordered',
      targets: [{ ...found, weight: 1 }],
      fallbacks: [],
    }
  }

  function names(): readonly string[] {
    const listed = instances.flatMap(({ name, models }) =>
      models.filter((model) => !model.includes('*')).map((model) => `${name}/${model}`),
    )
    return [...named.keys(), ...listed]
  }

  return {
    instances: byName,
    names,
    fullName: (model) =>
      named.has(model) ? model : ((direct.get(model) ?? directRoute(model))?.name ?? model),
    resolve(model) {
      const route = named.get(model) ?? direct.get(model) ?? directRoute(model)
      if (route === undefined) throw notFound(model, serving.get(model), names(), nearest)
      if (!named.has(model) && direct.size < MOST_REMEMBERED) direct.set(model, route)
      return route
    },
  }
}

/** Which providers serve a model of this bare name. */
function bareNames(instances: readonly ProviderInstance[]): ReadonlyMap<string, readonly string[]> {
  const serving = new Map<string, string[]>()
  for (const { name, models } of instances) {
    for (const model of models) {
      const owners = serving.get(model)
      if (owners === undefined) serving.set(model, [name])
      else owners.push(name)
    }
  }
  return serving
}

function isPatternOf(model: string): (pattern: string) => boolean {
  return (pattern) => pattern.endsWith('*') && model.startsWith(pattern.slice(0, -1))
}

function notFound(
  model: string,
  owners: readonly string[] | undefined,
  names: readonly string[],
  nearest: DirectoryOptions['nearest'],
): GatewayError {
  const shown = model.length > 100 ? `${model.slice(0, 100)}...` : model
  if (owners !== undefined && owners.length > 1) {
    const choices = owners.map((owner) => `${owner}/${shown}`).join(', ')
    return new GatewayError(
      'model_not_found',
      `Several providers serve "${shown}": ask for one of ${choices}`,
      {
        param: 'model',
      },
    )
  }
  const bare = names.flatMap((name) => [name, name.slice(name.indexOf('/') + 1)])
  const near = nearest(model, bare)
  const hint = near === undefined ? 'GET /v1/models lists what there is' : `did you mean "${near}"?`
  return new GatewayError('model_not_found', `The model "${shown}" does not exist here; ${hint}`, {
    param: 'model',
  })
}
