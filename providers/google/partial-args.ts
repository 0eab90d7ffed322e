import { GatewayError } from '#errors'
import { list, type PartialArg } from './wire.ts'

type Container = Record<string, unknown> | unknown[]

/**
 * Adds pieces of streamed arguments (`streamFunctionCallArguments`) to an object. A string
 * that comes in pieces grows; any other value is set.
 *
 * @param args without a prototype, or an array
 * @throws GatewayError `upstream_invalid` for a path that leads nowhere
 */
export function addPartialArgs(args: Container, pieces: PartialArg[] | undefined): void {
  for (const piece of list(pieces)) {
    const path = parsePath(piece.jsonPath ?? '')
    const last = path.pop()
    if (last === undefined) throw unreadable(piece)

    let place = args
    for (const [at, key] of path.entries()) place = stepInto(place, key, path[at + 1] ?? last)
    assign(place, last, valueOf(piece, read(place, last)))
  }
}

/** An object that no key can harm, `__proto__` included. */
export function emptyArgs(): Record<string, unknown> {
  return Object.create(null)
}

function stepInto(place: Container, key: string | number, next: string | number): Container {
  const there = read(place, key)
  if (isContainer(there)) return there
  const created = typeof next === 'number' ? [] : emptyArgs()
  assign(place, key, created)
  return created
}

function isContainer(value: unknown): value is Container {
  return typeof value === 'object' && value !== null
}

function read(place: Container, key: string | number): unknown {
  return Array.isArray(place) ? place[Number(key)] : place[key]
}

function assign(place: Container, key: string | number, value: unknown): void {
  if (!Array.isArray(place)) {
    place[key] = value
    return
  }
  // Elements come in order; a gap would only make memory.
  if (typeof key !== 'number' || key > place.length) throw unreadable({ jsonPath: String(key) })
  place[key] = value
}

function valueOf(piece: PartialArg, before: unknown): unknown {
  if (piece.stringValue !== undefined)
    return typeof before === 'string' ? before + piece.stringValue : piece.stringValue
  return piece.numberValue ?? piece.boolValue ?? null
}

/** `$.operations[0]['a.b']` as `operations`, 0, `a.b`. */
function parsePath(path: string): (string | number)[] {
  const steps = path.matchAll(/\.([^.[\]]+)|\[(\d+)\]|\['([^']*)'\]|\["([^"]*)"\]/g)
  return [...steps].map(([, name, index, single, double]) =>
    index === undefined ? (name ?? single ?? double ?? '') : Number(index),
  )
}

function unreadable(piece: PartialArg): GatewayError {
  return new GatewayError('upstream_invalid', 'The provider sent arguments that cannot be placed', {
    cause: piece,
  })
}
