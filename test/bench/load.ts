import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from './connection.ts'
import type { Connection } from './connection.ts'
import { CLOSE, OPEN } from './job.ts'
import type { Job, Result } from './job.ts'

/** The load generator, a process of its own: takes one job at a time, answers with its result. */

process.on('message', async (job: Job | typeof CLOSE) => {
  if (job === CLOSE) return
  const result = await RUN[job.type](job as never)
  process.send?.(result)
})
process.on('disconnect', () => process.exit(0))

const RUN = {
  closed: (job: Job & { type: 'closed' }) => runClosed(job),
  paced: (job: Job & { type: 'paced' }) => runPaced(job),
  streams: (job: Job & { type: 'streams' }) => runStreams(job),
}

function runClosed(job: Job & { type: 'closed' }): Promise<Result> {
  const { port, request, ms, connections, least } = job
  return new Promise((resolve) => {
    const bytes = Buffer.from(request)
    const note = createNotes()
    const started = performance.now()
    let open = connections
    let answered = 0
    const goesOn = (now: number): boolean => now - started < ms || answered < least
    for (let index = 0; index < connections; index++) run()

    function run(): void {
      let sentAt = performance.now()
      let firstAt = 0
      const connection = connect(port, {
        body() {
          firstAt ||= performance.now()
        },
        done(isGood) {
          const now = performance.now()
          note.add(isGood, now - sentAt, firstAt - sentAt)
          if (isGood) answered++
          if (isGood && goesOn(now)) {
            sentAt = now
            firstAt = 0
            connection.send(bytes)
            return
          }
          connection.close()
          if (!isGood && now - started < ms) setTimeout(run, 10)
          else if (--open === 0) resolve(note.result(now - started))
        },
      })
      connection.send(bytes)
    }
  })
}

interface Slot {
  readonly connection: Connection
  sentAt: number
  firstAt: number
}

async function runPaced({
  port,
  request,
  ms,
  perSecond,
}: Job & { type: 'paced' }): Promise<Result> {
  const bytes = Buffer.from(request)
  const note = createNotes()
  const idle: Slot[] = []
  const all: Slot[] = []
  const started = performance.now()
  let sent = 0

  function open(): Slot {
    const slot: Slot = {
      sentAt: 0,
      firstAt: 0,
      connection: connect(port, {
        body() {
          slot.firstAt ||= performance.now()
        },
        done(isGood) {
          note.add(isGood, performance.now() - slot.sentAt, slot.firstAt - slot.sentAt)
          if (isGood) idle.push(slot)
        },
      }),
    }
    all.push(slot)
    return slot
  }

  for (;;) {
    const elapsed = performance.now() - started
    if (elapsed >= ms) break
    for (; sent < (elapsed * perSecond) / 1000; sent++) {
      const slot = idle.pop() ?? open()
      slot.sentAt = performance.now()
      slot.firstAt = 0
      slot.connection.send(bytes)
    }
    await sleep(1)
  }
  for (let waited = 0; idle.length < all.length && waited < LAST_ANSWERS_MS; waited += 10) {
    await sleep(10)
  }
  for (const { connection } of all) connection.close()
  return note.result(ms, sent)
}

/** How long the last of a paced job may take to be answered, ms. */
const LAST_ANSWERS_MS = 5000

/** Gaps of up to this many tenths of a millisecond are told apart. */
const GAP_STEPS = 100_000

async function runStreams({
  port,
  request,
  ms,
  streams,
}: Job & { type: 'streams' }): Promise<Result> {
  const bytes = Buffer.from(request)
  const gaps = new Uint32Array(GAP_STEPS)
  const all: Connection[] = []
  let failed = 0
  let events = 0
  let isMeasuring = false

  function open(): void {
    let last = 0
    const connection = connect(port, {
      body(piece) {
        const count = countEvents(piece)
        if (count === 0) return
        const now = performance.now()
        if (isMeasuring && last > 0) {
          const gap = Math.min(GAP_STEPS - 1, Math.round((now - last) * 10))
          gaps[gap] = gaps[gap]! + 1
          // Events that came together came without a gap.
          gaps[0] = gaps[0]! + count - 1
          events += count
        }
        last = now
      },
      done() {
        failed++
      },
    })
    connection.send(bytes)
    all.push(connection)
  }

  const steps = 50
  for (let step = 0; step < steps; step++) {
    while (all.length < (streams * (step + 1)) / steps) open()
    await sleep(ms / 4 / steps)
  }
  await sleep(ms / 4)
  isMeasuring = true
  const from = performance.now()
  await sleep(ms / 2)
  isMeasuring = false
  const seconds = (performance.now() - from) / 1000
  // The caller weighs the gateway while the streams are still open.
  process.send?.(OPEN)
  await new Promise((resolve) => process.once('message', resolve))
  for (const connection of all) connection.close()
  const total = gaps.reduce((sum, count) => sum + count, 0)
  return {
    answered: streams,
    failed,
    perSecond: 0,
    p50: gapAt(gaps, total * 0.5),
    p99: gapAt(gaps, total * 0.99),
    firstP50: 0,
    events: events / seconds,
  }
}

function gapAt(gaps: Uint32Array, rank: number): number {
  let seen = 0
  for (let gap = 0; gap < gaps.length; gap++) {
    seen += gaps[gap] ?? 0
    if (seen >= rank) return gap / 10
  }
  return gaps.length / 10
}

/** Every event of ours ends in an empty line, which stands nowhere else. */
function countEvents(piece: Buffer): number {
  let count = 0
  for (let at = piece.indexOf('\n\n'); at >= 0; at = piece.indexOf('\n\n', at + 2)) count++
  return count
}

function createNotes() {
  const whole: number[] = []
  const first: number[] = []
  let failed = 0
  return {
    add(isGood: boolean, wholeMs: number, firstMs: number): void {
      if (isGood) {
        whole.push(wholeMs)
        first.push(firstMs)
      } else failed++
    },
    result(ms: number, sent = whole.length + failed): Result {
      whole.sort((a, b) => a - b)
      first.sort((a, b) => a - b)
      return {
        answered: whole.length,
        failed: Math.max(failed, sent - whole.length),
        perSecond: (whole.length * 1000) / ms,
        p50: whole[Math.floor(whole.length * 0.5)] ?? NaN,
        p99: whole[Math.floor(whole.length * 0.99)] ?? NaN,
        firstP50: first[Math.floor(first.length * 0.5)] ?? NaN,
        events: 0,
      }
    },
  }
}
