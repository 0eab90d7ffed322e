interface Aim {
  readonly port: number
  /** The whole request as it goes over the wire. */
  readonly request: string
  readonly ms: number
}

export type Job =
  /** As fast as so many connections go, for the time and until so many are answered. */
  | (Aim & { readonly type: 'closed'; readonly connections: number; readonly least: number })
  /** So many a second, whether or not the earlier ones are answered. */
  | (Aim & { readonly type: 'paced'; readonly perSecond: number })
  /** So many endless streams, opened within the first quarter of the time. */
  | (Aim & { readonly type: 'streams'; readonly streams: number })

/** What is sent for `streams` once they are open, and what closes them again. */
export const OPEN = 'open'
export const CLOSE = 'close'

export interface Result {
  readonly answered: number
  readonly failed: number
  readonly perSecond: number
  /** Of the whole answer, or for `streams` of the gaps between events; ms. */
  readonly p50: number
  readonly p99: number
  /** To the first byte of the body, ms. */
  readonly firstP50: number
  /** Events a second; `streams` only. */
  readonly events: number
}
