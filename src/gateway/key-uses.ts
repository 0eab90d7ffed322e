import type { Logger } from 'pino'
import { addUses, both, MOST_VALUES, OTHER } from '../store/key-uses.ts'
import type { KeyUse, Seen } from '../store/key-uses.ts'
import type { Database } from '../store/schema.ts'

/** Who uses which key from where: noted in memory, written now and then. */
export interface KeyUses {
  /** A request was let in with the key. */
  readonly used: (keyId: string, address: string, agent: string | undefined) => void
  /** A request had the right key, which may not be used. */
  readonly refused: (keyId: string, address: string) => void
  /** Writes what was noted so far. */
  readonly flush: () => Promise<void>
  /** Writes the rest. Nothing is taken after. */
  readonly close: () => Promise<void>
}

export interface KeyUsesOptions {
  readonly log: Logger
  /** Unix ms. */
  readonly now: () => number
  readonly everyMs?: number
}

/** How often notes are written, ms. */
const FLUSH_MS = 5_000

/** Keys of one transaction. */
const KEYS_AT_ONCE = 200

/** Keys noted while nothing can be written; more are not noted. */
const MOST_KEYS = 100_000

const MOST_AGENT = 200

interface Notes {
  total: Seen | undefined
  readonly addresses: Map<string, Seen>
  readonly agents: Map<string, Seen>
  readonly refused: Map<string, Seen>
}

export function trackKeyUses(db: Database, options: KeyUsesOptions): KeyUses {
  const { log, now } = options
  let noted = new Map<string, Notes>()
  let writing: Promise<void> = Promise.resolve()
  const timer = setInterval(() => void flush(), options.everyMs ?? FLUSH_MS)

  function notesOf(keyId: string): Notes | undefined {
    let notes = noted.get(keyId)
    if (notes === undefined) {
      if (noted.size >= MOST_KEYS) return undefined
      notes = { total: undefined, addresses: new Map(), agents: new Map(), refused: new Map() }
      noted.set(keyId, notes)
    }
    return notes
  }

  function flush(): Promise<void> {
    writing = writing.then(write)
    return writing
  }

  async function write(): Promise<void> {
    if (noted.size === 0) return
    const batch = noted
    noted = new Map()
    const all = [...batch]
    for (let at = 0; at < all.length; at += KEYS_AT_ONCE) {
      try {
        await addUses(db, all.slice(at, at + KEYS_AT_ONCE).map(describe))
      } catch (error) {
        log.error({ err: error }, 'uses of keys were not written; they are kept for the next time')
        for (const [keyId, notes] of all.slice(at)) keep(keyId, notes)
        return
      }
    }
  }

  /** Takes back what could not be written. */
  function keep(keyId: string, notes: Notes): void {
    const here = notesOf(keyId)
    if (here === undefined) return
    if (notes.total !== undefined) {
      here.total = here.total === undefined ? notes.total : both(here.total, notes.total)
    }
    for (const kind of ['addresses', 'agents', 'refused'] as const) {
      for (const [value, seen] of notes[kind]) merge(here[kind], value, seen)
    }
  }

  return {
    used(keyId, address, agent) {
      const notes = notesOf(keyId)
      if (notes === undefined) return
      const at = now()
      if (notes.total === undefined) notes.total = { firstSeen: at, lastSeen: at, count: 1 }
      else note(notes.total, at)
      count(notes.addresses, address, at)
      // Cut before it becomes a name: a header can be 16 KiB long.
      if (agent !== undefined) {
        count(notes.agents, agent.length > MOST_AGENT ? agent.slice(0, MOST_AGENT) : agent, at)
      }
    },
    refused(keyId, address) {
      const notes = notesOf(keyId)
      if (notes !== undefined) count(notes.refused, address, now())
    },
    flush,
    async close() {
      clearInterval(timer)
      await flush()
    },
  }
}

function count(seen: Map<string, Seen>, value: string, at: number): void {
  const known = seen.get(value)
  if (known !== undefined) note(known, at)
  else merge(seen, value, { firstSeen: at, lastSeen: at, count: 1 })
}

function note(seen: Seen, at: number): void {
  seen.lastSeen = at
  seen.count++
}

function merge(all: Map<string, Seen>, value: string, seen: Seen): void {
  const kept = all.size < MOST_VALUES || all.has(value) ? value : OTHER
  const before = all.get(kept)
  all.set(kept, before === undefined ? seen : both(before, seen))
}

function describe([keyId, { total, addresses, agents, refused }]: [string, Notes]): KeyUse {
  const named = new Map<string, Seen>()
  for (const [agent, seen] of agents) merge(named, plain(agent), seen)
  return { keyId, ...(total === undefined ? {} : { total }), addresses, agents: named, refused }
}

/** Without what could be a secret or a control character. */
function plain(agent: string): string {
  return agent
    .replaceAll(/\bsk-[\w-]{8,}/g, 'sk-***')
    .replaceAll(/[^\x20-\x7e]/g, '?')
    .trim()
}
