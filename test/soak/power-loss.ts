import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import SqliteDatabase from 'better-sqlite3'
import { openStore } from '../../src/store/open.ts'
import { dice } from '../gateway/dice.ts'
import type { Dice } from '../gateway/dice.ts'

/** What the process asked of the system, in the order in which it was done. */
type Step =
  | { readonly type: 'write'; readonly file: string; readonly at: number; readonly bytes: Buffer }
  | { readonly type: 'truncate'; readonly file: string; readonly size: number }
  | { readonly type: 'sync'; readonly file: string }
  | { readonly type: 'acknowledged'; readonly ids: readonly string[] }

/**
 * Cuts the power after every write and sync of a run at `durability: full`, and opens what the
 * disk may then hold: all that was written, only what was synced, and some of the rest with the
 * last write torn. Every acknowledged entry must be there, whole, once, and in the sums.
 *
 * Needs strace. @returns whether nothing was lost
 */
export async function powerLoss(entries: number, seed: number): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-power-'))
  try {
    const data = join(folder, 'data')
    const store = await openStore({
      dataDir: data,
      synchronous: 'full',
      instanceId: 'inst_before',
    })
    await store.close()
    const before = join(folder, 'before')
    cpSync(data, before, { recursive: true })
    const trace = join(folder, 'trace')
    await record(trace, data, join(folder, 'acks'), entries)
    return await replay(await stepsOf(trace), before, seed)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const CALLS = 'pwrite64,write,ftruncate,fsync,fdatasync'

async function record(trace: string, data: string, acks: string, entries: number): Promise<void> {
  const options = ['-f', '-qq', '-y', '-xx', '-s', '1000000', '-e', `trace=${CALLS}`, '-o', trace]
  const writer = join(import.meta.dirname, 'power-loss-writer.ts')
  const child = spawn(
    'strace',
    [...options, process.execPath, writer, data, acks, String(entries)],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  )
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`The traced run ended with ${code}`)
}

const CALL = /^(\d+) +(\w+)\((\d+)<([^>]*)>(.*)$/
const RESUMED = /^(\d+) +<\.\.\. \w+ resumed>(.*)$/
const UNFINISHED = ' <unfinished ...>'

async function stepsOf(trace: string): Promise<readonly Step[]> {
  const steps: Step[] = []
  /** What a thread began and has not ended. */
  const begun = new Map<string, string>()
  for await (const line of createInterface({ input: createReadStream(trace) })) {
    const resumed = RESUMED.exec(line)
    if (line.endsWith(UNFINISHED)) {
      begun.set(line.slice(0, line.indexOf(' ')), line.slice(0, -UNFINISHED.length))
      continue
    }
    const whole = resumed === null ? line : `${begun.get(resumed[1]!)}${resumed[2]}`
    const step = stepOf(whole)
    if (step !== undefined) steps.push(step)
  }
  return steps
}

function stepOf(line: string): Step | undefined {
  const [, , call, , path = '', rest = ''] = CALL.exec(line) ?? []
  const file = basename(text(path))
  if (file === 'acks' && call === 'write') {
    return { type: 'acknowledged', ids: bytesOf(rest).toString().trim().split('\n') }
  }
  if (!/^tollgate\.db(-wal)?$/.test(file) || !/= \d+$/.test(line)) return undefined
  if (call === 'pwrite64') {
    const at = Number(/, \d+, (\d+)\) += \d+$/.exec(rest)?.[1])
    return { type: 'write', file, at, bytes: bytesOf(rest) }
  }
  if (call === 'ftruncate') {
    return { type: 'truncate', file, size: Number(/^, (\d+)\)/.exec(rest)?.[1]) }
  }
  if (call === 'fsync' || call === 'fdatasync') return { type: 'sync', file }
  throw new Error(`${call} of ${file} is not understood`)
}

/** Paths are written as they are, or as bytes. */
function text(path: string): string {
  return path.startsWith('\\x') ? Buffer.from(path.replaceAll('\\x', ''), 'hex').toString() : path
}

function bytesOf(rest: string): Buffer {
  const quoted = /"((?:\\x[0-9a-f]{2})*)"/.exec(rest)?.[1] ?? ''
  return Buffer.from(quoted.replaceAll('\\x', ''), 'hex')
}

/** What is on the disk for sure, and what may be. */
interface Disk {
  readonly files: Map<string, Buffer>
  readonly pending: (Step & { readonly file: string })[]
}

async function replay(steps: readonly Step[], before: string, seed: number): Promise<boolean> {
  const disk: Disk = { files: new Map(), pending: [] }
  for (const name of readdirSync(before)) disk.files.set(name, readFileSync(join(before, name)))
  const acknowledged = new Set<string>()
  const shared = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
  const folder = mkdtempSync(join(shared, 'tollgate-power-'))
  const random = dice(seed)
  let prefixes = 0
  const faults: string[] = []
  try {
    for (const [index, step] of steps.entries()) {
      if (step.type === 'acknowledged') {
        for (const id of step.ids) acknowledged.add(id)
      } else if (step.type === 'sync') {
        settle(disk, step.file)
      } else {
        disk.pending.push(step)
      }
      for (const [name, files] of Object.entries(outcomes(disk, random))) {
        prefixes += 1
        const fault = check(folder, files, acknowledged)
        if (fault !== undefined)
          faults.push(`after step ${index} (${step.type}), ${name}: ${fault}`)
      }
      if (faults.length > 20) break
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  process.stdout.write(
    `power loss: ${steps.length} steps, ${acknowledged.size} acknowledged, ${prefixes} disks opened, ${faults.length} faults\n`,
  )
  for (const fault of faults.slice(0, 20)) process.stdout.write(`  ${fault}\n`)
  return faults.length === 0 && acknowledged.size > 0
}

/** A sync makes all that was written to its file last. */
function settle(disk: Disk, file: string): void {
  const done = disk.pending.filter((step) => step.file === file)
  disk.files.set(file, done.reduce(apply, disk.files.get(file) ?? Buffer.alloc(0)))
  const rest = disk.pending.filter((step) => step.file !== file)
  disk.pending.splice(0, disk.pending.length, ...rest)
}

function apply(file: Buffer, step: Step): Buffer {
  if (step.type === 'truncate') {
    return Buffer.concat([file.subarray(0, step.size)], step.size)
  }
  if (step.type !== 'write') return file
  const end = step.at + step.bytes.length
  const grown = Buffer.alloc(Math.max(file.length, end))
  file.copy(grown)
  step.bytes.copy(grown, step.at)
  return grown
}

function outcomes(
  { files, pending }: Disk,
  random: Dice,
): Readonly<Record<string, ReadonlyMap<string, Buffer>>> {
  const written = (steps: readonly (Step & { readonly file: string })[]) => {
    const result = new Map(files)
    for (const step of steps) {
      result.set(step.file, apply(result.get(step.file) ?? Buffer.alloc(0), step))
    }
    return result
  }
  if (pending.length === 0) return { synced: files }
  // A disk keeps what it likes of what was not synced, and the last of it maybe in part.
  const kept = pending.filter(() => random.chance(0.5))
  const last = kept.at(-1)
  if (last?.type === 'write') {
    const part = Math.floor((last.bytes.length * random.next()) / 512) * 512
    kept[kept.length - 1] = { ...last, bytes: last.bytes.subarray(0, part) }
  }
  return { synced: files, all: written(pending), some: written(kept) }
}

/** @returns what is wrong with a disk; undefined when nothing is */
function check(
  folder: string,
  files: ReadonlyMap<string, Buffer>,
  acknowledged: ReadonlySet<string>,
): string | undefined {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  for (const [name, bytes] of files) {
    if (/^tollgate\.db(-wal)?$/.test(name)) writeFileSync(join(folder, name), bytes)
  }
  const database = new SqliteDatabase(join(folder, 'tollgate.db'))
  try {
    const sound = database.pragma('integrity_check', { simple: true })
    if (sound !== 'ok') return `not sound: ${String(sound).slice(0, 200)}`
    const ids = database.prepare('select id from entries').pluck().all() as string[]
    const there = new Set(ids)
    const lost = [...acknowledged].filter((id) => !there.has(id))
    if (lost.length > 0) return `${lost.length} acknowledged entries lost, such as ${lost[0]}`
    const summed = database
      .prepare(
        'select coalesce(sum(attempts), 0) as n, coalesce(sum(cost_nanos), 0) as c from usage_hours',
      )
      .get() as { n: number; c: number }
    const told = database
      .prepare('select count(*) as n, coalesce(sum(cost_nanos), 0) as c from entries')
      .get() as { n: number; c: number }
    if (summed.n !== told.n || summed.c !== told.c) return 'the sums are not those of the entries'
    return undefined
  } catch (error) {
    return String(error)
  } finally {
    database.close()
  }
}
