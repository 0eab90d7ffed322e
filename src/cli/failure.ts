/** What the command line ends with. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  auth: 4,
  conflict: 5,
  limit: 6,
  findings: 7,
  interrupted: 130,
} as const

export type Exit = (typeof EXIT)[keyof typeof EXIT]

interface Words {
  readonly why?: string | undefined
  readonly fix?: string | undefined
  readonly cause?: unknown
}

/** What keeps a command from its end, in words for people: what, why, how to mend it. */
export class Failure extends Error {
  override readonly name = 'Failure'
  readonly exit: Exit
  readonly why: string | undefined
  readonly fix: string | undefined

  constructor(exit: Exit, what: string, { why, fix, cause }: Words = {}) {
    super(what, cause === undefined ? undefined : { cause })
    this.exit = exit
    this.why = why
    this.fix = fix
  }
}
