import type { IncomingMessage } from 'node:http'
import type { Middleware } from 'koa'
import { GatewayError } from '#errors'
import type { Key } from '#protocol'
import type { GatewayState } from '../state.ts'

export interface AuthenticateDeps {
  /**
   * The key a credential opens, whatever its status.
   *
   * @returns undefined for anything that is not one of our keys
   */
  readonly findKey: (credential: string) => Key | undefined | Promise<Key | undefined>
  /** @throws GatewayError `revoked_api_key` when what the key belongs to was archived */
  readonly checkOpen: (key: Key) => void
  readonly mayComeFrom: (ranges: readonly string[], address: string) => boolean
  readonly addressOf: (request: IncomingMessage) => string
  /** A request was let in with the key, or had it and was refused. Never waits. */
  readonly used: (keyId: string, address: string, agent: string | undefined) => void
  readonly refused: (keyId: string, address: string) => void
  readonly now: () => number
  /** Milliseconds of a clock that never jumps. */
  readonly tick: () => number
}

/**
 * Finds the key behind a request and puts it into the state.
 *
 * Accepts what the SDKs send: `Authorization: Bearer`, `x-api-key`, `api-key`,
 * `x-goog-api-key`, `?key=`. Two different credentials in one request are refused.
 */
export function authenticate({
  findKey,
  checkOpen,
  mayComeFrom,
  addressOf,
  used,
  refused,
  now,
  tick,
}: AuthenticateDeps): Middleware<GatewayState> {
  return async function authenticate(ctx, next) {
    const { record, receivedTick } = ctx.state
    const address = addressOf(ctx.req)
    record.address = address
    const { credential, seen } = readCredential(ctx.req)
    const found = findKey(credential)
    const key = found instanceof Promise ? await found : found
    if (key === undefined) {
      throw new GatewayError(
        'invalid_api_key',
        `The key in ${seen} is not one of Tollgate's; check it for a cut or a typo`,
      )
    }
    record.key = key
    record.keyId = key.id
    record.applicationId = key.applicationId
    record.tenantId = key.tenantId
    try {
      checkKey(key, now())
      checkOpen(key)
      if (key.addresses.length > 0 && !mayComeFrom(key.addresses, address)) {
        throw new GatewayError(
          'ip_not_allowed',
          `The key ending in ${key.last4} may not be used from ${address}`,
        )
      }
    } catch (error) {
      refused(key.id, address)
      throw error
    }
    used(key.id, address, ctx.req.headers['user-agent'])
    ctx.state.key = key
    record.authenticatedMs = tick() - receivedTick
    await next()
  }
}

/** @throws GatewayError when the key is not good at this moment */
export function checkKey(key: Key, now: number): void {
  if (key.status !== 'active') {
    throw new GatewayError(
      'revoked_api_key',
      `The key ending in ${key.last4} was ${key.status}; ask its owner for a new one`,
    )
  }
  if (key.expiresAt !== undefined && key.expiresAt <= now) {
    const when = new Date(key.expiresAt).toISOString()
    throw new GatewayError(
      'expired_api_key',
      `The key ending in ${key.last4} expired at ${when}; ask its owner for a new one`,
    )
  }
}

interface Credential {
  readonly credential: string
  /** Where it stood, for messages. */
  readonly seen: string
}

const HEADERS = ['x-api-key', 'api-key', 'x-goog-api-key'] as const

/** A key of ours has 40 characters and a few; nothing longer is looked at. */
const LONGEST = 256

function readCredential({ headers, rawHeaders, url = '' }: IncomingMessage): Credential {
  let found: Credential | undefined
  const consider = (credential: string, seen: string): void => {
    if (credential === '' || credential.length > LONGEST) {
      throw new GatewayError(
        'invalid_api_key',
        `The key in ${seen} is ${credential === '' ? 'empty' : 'too long'}`,
      )
    }
    if (found !== undefined && found.credential !== credential) {
      throw new GatewayError(
        'invalid_api_key',
        `${found.seen} and ${seen === found.seen ? 'a second one' : seen} carry different keys; send one`,
      )
    }
    found ??= { credential, seen }
  }
  if (headers.authorization !== undefined) {
    // Node keeps the first of several and drops the rest, which would hide a second key.
    for (let at = 0; at < rawHeaders.length; at += 2) {
      if (rawHeaders[at]!.length !== 13 || rawHeaders[at]!.toLowerCase() !== 'authorization')
        continue
      const given = rawHeaders[at + 1]!.slice(0, 2 * LONGEST)
      if (!/^(?:bearer(?: |$)|$)/i.test(given)) {
        throw new GatewayError(
          'invalid_api_key',
          '`Bearer` is missing in Authorization; send `Authorization: Bearer sk-tg-...`',
        )
      }
      consider(/^bearer +([^\s,]+)$/i.exec(given)?.[1] ?? '', 'Authorization')
    }
  }
  for (const name of HEADERS) {
    const value = headers[name]
    if (value !== undefined) consider(Array.isArray(value) ? '' : value, name)
  }
  if (url.includes('key=')) {
    const query = new URLSearchParams(url.slice(url.indexOf('?') + 1))
    for (const value of query.getAll('key')) consider(value, '?key=')
  }
  if (found === undefined) {
    throw new GatewayError(
      'invalid_api_key',
      'No key was sent; send `Authorization: Bearer sk-tg-...`',
    )
  }
  return found
}
