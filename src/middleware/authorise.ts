import type { Middleware } from 'koa'
import { GatewayError } from '#errors'
import type { Key, Route } from '#protocol'
import type { GatewayState } from '../state.ts'

export interface AuthoriseDeps {
  /** @throws GatewayError `model_not_found` */
  readonly resolve: (model: string) => Route
  readonly mayCall: (key: Key, route: Route) => boolean
  readonly mayUseEndpoint: (key: Key, path: string) => boolean
  /** Names the key may ask for, for the message. */
  readonly allowed: (key: Key) => readonly string[]
}

/** Resolves the model once and checks the key's rights on all it can lead to; sets the route. */
export function authorise({
  resolve,
  mayCall,
  mayUseEndpoint,
  allowed,
}: AuthoriseDeps): Middleware<GatewayState> {
  return async function authorise(ctx, next) {
    const { key, asked } = ctx.state
    if (!mayUseEndpoint(key, ctx.path)) {
      throw new GatewayError(
        'permission_denied',
        `The key ending in ${key.last4} may not call ${ctx.path}; it may call ${key.endpoints.join(', ')}`,
      )
    }
    const route = resolve(asked.request.model)
    ctx.state.record.route = route
    if (!mayCall(key, route)) {
      const names = allowed(key).slice(0, 10).join(', ')
      throw new GatewayError(
        'model_not_allowed',
        `The key ending in ${key.last4} may not call ${route.name}; it may call: ${names || 'nothing'}`,
        {
          param: 'model',
        },
      )
    }
    ctx.state.route = route
    await next()
  }
}
