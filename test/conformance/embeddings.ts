import { jsonOf } from './bench.ts'
import type { Exchange } from './bench.ts'
import type { Findings } from './explained.ts'
import { fields, list, objects, short } from './json.ts'
import { checkEntry } from './outcome.ts'
import type { Reported } from './outcome.ts'
import type { Recording } from './recordings.ts'

type Vector = readonly number[]

/** Checks the vectors a caller received, in the encoding asked for. */
export function checkEmbeddings(
  exchange: Exchange,
  recording: Recording,
  expected: { readonly vectors: readonly unknown[]; readonly reported: Reported | undefined },
  encoding: unknown,
  findings: Findings,
): void {
  const { failures } = findings
  const answer = fields(jsonOf(exchange))
  if (exchange.status !== 200) {
    failures.push(`answer: ${exchange.status} ${short(answer)}`)
    return
  }
  const found = objects(answer['data']).map(({ embedding }) => embedding)
  if (found.length !== expected.vectors.length) {
    failures.push(`answer: ${found.length} vectors of ${expected.vectors.length}`)
  }
  for (const [index, vector] of found.entries()) {
    if ((encoding === 'base64') !== (typeof vector === 'string')) {
      failures.push(`answer: vector ${index} is not in the encoding asked for`)
    }
    if (!same(floats(vector), floats(expected.vectors[index]))) {
      failures.push(`answer: vector ${index} has other numbers`)
    }
  }
  checkEntry(exchange, recording, expected.reported, findings)
}

function same(one: Vector, other: Vector): boolean {
  return (
    one.length > 0 &&
    one.length === other.length &&
    one.every((number, index) => Math.fround(number) === Math.fround(other[index] ?? NaN))
  )
}

/** Numbers, or base64 of them; old vLLM sends doubles where all others send floats. */
function floats(vector: unknown): Vector {
  if (typeof vector !== 'string') return list(vector).map(Number)
  const bytes = Buffer.from(vector, 'base64')
  const doubles = every(bytes, 8, (at) => bytes.readDoubleLE(at))
  // Made of floats, doubles end in zeros: their first bytes, as they are written.
  const widened = doubles.every((_, index) => bytes.readUInt16LE(index * 8) === 0)
  return widened ? doubles : every(bytes, 4, (at) => bytes.readFloatLE(at))
}

function every(bytes: Buffer, size: number, read: (at: number) => number): number[] {
  return Array.from({ length: Math.floor(bytes.length / size) }, (_, index) => read(index * size))
}
