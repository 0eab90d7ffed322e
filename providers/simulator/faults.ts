import { Refusal } from './chat-request.ts'

/**
 * Every fault that can be ordered, for the README. `<n>` and `<ms>` are whole numbers.
 *
 * As the model: `fault/cut-after-3`. With any model: the header `x-simulator-fault: cut-after-3`.
 * Several are joined by commas: `latency-200,status-503`.
 */
export const FAULTS = {
  'status-<n>': 'Answers that status; `?retry-after=`, `code=` and `message=` fill in the rest',
  'latency-<ms>': 'Waits before anything is sent',
  'first-token-<ms>': 'Sends the headers, then waits before the first bytes',
  'gap-<ms>': 'Waits before each further frame of a stream',
  'cut-after-<n>':
    'Ends a stream after so many frames as if it were complete; a whole answer halfway',
  'reset-after-<n>': 'The same, with the connection torn down',
  reset: 'Tears the connection down before anything is sent',
  silent: 'Takes the request and never answers',
  'malformed-after-<n>':
    'Sends a frame of broken JSON after so many; of a whole answer, half the JSON',
  'error-after-<n>':
    'Sends an error frame after so many and ends; instead of a whole answer, status 500',
  html: 'Answers 200 with a page of HTML',
  'half-json': 'Answers 200 with a body that stops in the middle of its JSON',
  empty: 'Answers 200 with no body',
  endless: 'Never stops sending',
  'usage-missing': 'Leaves usage out',
  'usage-negative': 'Reports negative tokens',
  'usage-absurd': 'Reports more tokens than can be, with a total that does not add up',
} as const satisfies Record<string, string>

/** Faults of one request, by the name in {@link FAULTS} without its number. */
export interface Faults {
  /** The number behind the name; `true` where it has none. */
  readonly ordered: ReadonlyMap<string, number | true>
  readonly options: URLSearchParams
}

export const FAULT_MODEL = /^fault\//
export const FAULT_HEADER = 'x-simulator-fault'

const NUMBERED = new Set(
  Object.keys(FAULTS).flatMap((name) => (/^(.*)-<(?:n|ms)>$/.exec(name) ?? []).slice(1)),
)

/** @throws Refusal 400 listing what there is, for anything else */
export function readFaults(...orders: readonly string[]): Faults {
  const ordered = new Map<string, number | true>()
  const options = new URLSearchParams()
  for (const order of orders) {
    const [list = '', query = ''] = order.split('?', 2)
    for (const [name, value] of new URLSearchParams(query)) options.set(name, value)
    for (const fault of list.split(',').map((each) => each.trim())) {
      const [, name = '', digits = ''] = /^(.*)-(\d{1,7})$/.exec(fault) ?? []
      if (NUMBERED.has(name)) ordered.set(name, Number(digits))
      else if (Object.hasOwn(FAULTS, fault) && !fault.includes('<')) ordered.set(fault, true)
      else if (fault !== '') {
        throw new Refusal(
          400,
          `The simulator has no fault "${fault}"; it has ${Object.keys(FAULTS).join(', ')}`,
          { code: 'unknown_fault', param: FAULT_HEADER },
        )
      }
    }
  }
  return { ordered, options }
}

/** Ms or frames of a fault; absent where it was not ordered. */
export function numberOf({ ordered }: Faults, name: string): number | undefined {
  const value = ordered.get(name)
  return value === true ? 0 : value
}

/** Usage as the faults have it. */
export function spoilUsage(faults: Faults, usage: object): object | undefined {
  if (faults.ordered.has('usage-missing')) return undefined
  if (faults.ordered.has('usage-negative')) {
    return { ...usage, prompt_tokens: -5, completion_tokens: -7, total_tokens: -12 }
  }
  if (faults.ordered.has('usage-absurd')) {
    return { ...usage, prompt_tokens: 9e15, completion_tokens: 1e18, total_tokens: 3 }
  }
  return usage
}
