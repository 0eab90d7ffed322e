import type { Middleware } from 'koa'
import { GatewayError } from '#errors'
import type { Key } from '#protocol'
import type { Body } from '../endpoints/body.ts'
import type { GatewayState } from '../state.ts'
import { collect } from './read-request.ts'

export interface MeDeps {
  /** Who the key is, what it may, what can stop it, what it spent and what was refused. */
  readonly about: (key: Key) => Promise<object>
  /**
   * Makes a successor with the same rights and limits; both work until the overlap ends.
   *
   * @returns it with its secret, which is never to be had again
   * @throws GatewayError `conflict` where it was rolled before
   */
  readonly roll: (
    key: Key,
    overlapMs: number,
    from: { readonly address: string; readonly userAgent: string; readonly requestId: string },
  ) => Promise<object>
}

/** Longest overlap of a roll, a week, and the one where nothing is said. */
const MOST_SECONDS = 7 * 24 * 3600
const SECONDS = 24 * 3600

const MAX_BODY_BYTES = 4096

/**
 * Answers `GET /v1/me`. Reads nothing of the request but the key, and counts against no limit:
 * whoever is at one asks this first.
 */
export function me({ about }: Pick<MeDeps, 'about'>): Middleware<GatewayState> {
  return async function me(ctx) {
    const body = await about(ctx.state.key)
    ctx.set('cache-control', 'no-store')
    ctx.body = body
  }
}

/** Answers `POST /v1/me/roll`. */
export function rollMe({
  roll,
  readBody,
}: Pick<MeDeps, 'roll'> & {
  readonly readBody: (bytes: Uint8Array) => Body
}): Middleware<GatewayState> {
  return async function rollMe(ctx) {
    const { key, record, requestId } = ctx.state
    const bytes = await collect(ctx.req, MAX_BODY_BYTES)
    if (bytes.length > 0 && !ctx.is('application/json')) {
      throw new GatewayError('unsupported_media_type', 'Send content-type: application/json')
    }
    const seconds = bytes.length === 0 ? SECONDS : overlapOf(readBody(bytes).value)
    const body = await roll(key, seconds * 1000, {
      address: record.address ?? '',
      userAgent: ctx.get('user-agent'),
      requestId,
    })
    ctx.set('cache-control', 'no-store')
    ctx.status = 201
    ctx.body = body
  }
}

function overlapOf({ overlap_seconds: seconds = SECONDS, ...rest }: Body['value']): number {
  const [other] = Object.keys(rest)
  if (other !== undefined) {
    throw new GatewayError('invalid_value', `There is no field ${other.slice(0, 100)}`, {
      param: other.slice(0, 100),
    })
  }
  if (
    typeof seconds !== 'number' ||
    !Number.isInteger(seconds) ||
    seconds < 0 ||
    seconds > MOST_SECONDS
  ) {
    throw new GatewayError(
      'invalid_value',
      `overlap_seconds: expected a whole number from 0 to ${MOST_SECONDS}`,
      { param: 'overlap_seconds' },
    )
  }
  return seconds
}
