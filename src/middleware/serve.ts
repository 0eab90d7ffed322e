import type { Middleware } from 'koa'
import { GatewayError } from '#errors'
import type { GatewayState } from '../state.ts'

export interface Served {
  readonly method: 'GET' | 'POST'
  /** Exact, or ending in `/*`: then the rest of the path is left to the handler. */
  readonly path: string
  readonly handler: Middleware<GatewayState>
}

export interface ServeDeps {
  readonly nearest: (name: string, known: Iterable<string>) => string | undefined
}

/** Finds the pipeline of a path; unknown ones are answered with the nearest that exists. */
export function serve(routes: readonly Served[], { nearest }: ServeDeps): Middleware<GatewayState> {
  const exact = new Map<string, Served[]>()
  for (const route of routes) exact.set(route.path, [...(exact.get(route.path) ?? []), route])
  const open = routes.filter(({ path }) => path.endsWith('/*'))

  return async function serve(ctx, next) {
    const { path } = ctx
    const found =
      exact.get(path) ?? open.filter((route) => path.startsWith(route.path.slice(0, -1)))
    const method = ctx.method === 'HEAD' ? 'GET' : ctx.method
    const route = found.find((candidate) => candidate.method === method)
    if (route !== undefined) {
      ctx.state.record.endpoint = route.path
      return route.handler(ctx, next)
    }
    ctx.state.record.endpoint = 'unmatched'
    if (found.length > 0) {
      const allowed = found.map((candidate) => candidate.method).join(', ')
      ctx.res.setHeader('allow', allowed)
      throw new GatewayError('method_not_allowed', `${path} is for ${allowed}, not ${ctx.method}`)
    }
    const near = nearest(path, exact.keys()) ?? suffixOf(path, exact.keys())
    const hint = near === undefined ? 'the README lists the paths' : `did you mean ${near}?`
    throw new GatewayError('unknown_url', `Nothing is served under ${path.slice(0, 100)}; ${hint}`)
  }
}

/** A base URL with a part too few or too many is the usual mistake: `/chat/completions`, `/v1/v1/models`. */
function suffixOf(path: string, known: Iterable<string>): string | undefined {
  const bare = (one: string): string => one.replace(/^(\/v1)+/, '')
  return [...known].find((one) => bare(one).length > 1 && path.endsWith(bare(one)))
}
