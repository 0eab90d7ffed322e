import type { Middleware } from 'koa'
import type { GatewayState } from '../state.ts'

export interface HealthDeps {
  readonly version: string
  /** Whatever keeps this process from serving, in a few words; nothing when it can serve. */
  readonly ailments: () => readonly string[]
}

/** `live`: the process answers. `ready`: it can serve requests, 503 otherwise. No secrets, no authentication. */
export function health(
  kind: 'live' | 'ready',
  { version, ailments }: HealthDeps,
): Middleware<GatewayState> {
  return async function health(ctx) {
    const problems = kind === 'live' ? [] : ailments()
    ctx.set('cache-control', 'no-store')
    ctx.status = problems.length === 0 ? 200 : 503
    ctx.body = {
      status: problems.length === 0 ? 'ok' : 'unavailable',
      version,
      ...(problems.length > 0 && { problems }),
    }
  }
}
