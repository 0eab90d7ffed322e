import { EXPLAINED } from './explained.ts'
import type { Findings, Kind } from './explained.ts'
import type { Recording } from './recordings.ts'

/** What came of one recording. */
export interface Result {
  readonly recording: Recording
  /** Of the exchange as it was. */
  readonly whole: Findings
  /** Of the same stream, broken off before its end; absent where there is none to break. */
  readonly cut?: Findings
}

type Verdict = 'passed' | 'explained' | 'failed'

function verdictOf({ failures, explained }: Findings): Verdict {
  if (failures.length > 0) return 'failed'
  return explained.size > 0 ? 'explained' : 'passed'
}

export function failed(results: readonly Result[]): boolean {
  return results.some(
    ({ whole, cut }) => whole.failures.length > 0 || (cut?.failures.length ?? 0) > 0,
  )
}

/** One recording in one line. */
export function line({ recording, whole, cut }: Result): string {
  const told = (findings: Findings): string =>
    [verdictOf(findings), ...findings.explained].join(' ')
  const broken = cut === undefined ? '' : `; cut short: ${told(cut)}`
  return `${recording.provider}/${recording.id}: ${told(whole)}${broken}`
}

/** The table by feature and provider, what was explained and why, and what failed. */
export function report(results: readonly Result[]): string {
  return [...table(results), '', ...explanations(results), ...failures(results)].join('\n')
}

type Tally = Record<Verdict, number>

const ALL = 'all recordings'
const CUT = 'streams cut short'

function table(results: readonly Result[]): string[] {
  const cells = new Map<string, Tally>()
  const providers: string[] = []
  const features = new Set<string>()
  const add = (feature: string, provider: string, verdict: Verdict): void => {
    const key = `${feature} ${provider}`
    const tally = cells.get(key) ?? { passed: 0, explained: 0, failed: 0 }
    tally[verdict] += 1
    cells.set(key, tally)
  }
  for (const { recording, whole, cut } of results) {
    const { provider } = recording
    if (!providers.includes(provider)) providers.push(provider)
    const verdict = verdictOf(whole)
    for (const feature of [ALL, ...recording.features]) add(feature, provider, verdict)
    for (const feature of recording.features) features.add(feature)
    if (cut !== undefined) add(CUT, provider, verdictOf(cut))
  }
  const rows = [ALL, CUT, ...[...features].toSorted()].map((feature) => [
    feature,
    ...providers.map((provider) => written(cells.get(`${feature} ${provider}`))),
  ])
  return [
    'passed, +explained, !failed; a recording counts in each of its features',
    '',
    ...aligned([['', ...providers], ...rows]),
  ]
}

function written(tally: Tally | undefined): string {
  if (tally === undefined) return '.'
  const { passed, explained, failed: failures } = tally
  return [
    passed === 0 && explained + failures > 0 ? '' : String(passed),
    explained === 0 ? '' : `+${explained}`,
    failures === 0 ? '' : `!${failures}`,
  ]
    .filter((part) => part !== '')
    .join(' ')
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  '),
  )
}

function explanations(results: readonly Result[]): string[] {
  const counts = new Map<Kind, number>()
  for (const { whole, cut } of results) {
    for (const kind of new Set([...whole.explained, ...(cut?.explained ?? [])])) {
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
    }
  }
  if (counts.size === 0) return []
  const rows = [...counts]
    .toSorted(([, one], [, other]) => other - one)
    .map(([kind, count]) => [kind, String(count), EXPLAINED[kind]])
  return ['explained', ...aligned(rows).map((line) => `  ${line}`), '']
}

function failures(results: readonly Result[]): string[] {
  const lines = results.flatMap(({ recording, whole, cut }) =>
    [...whole.failures, ...(cut?.failures ?? []).map((failure) => `(cut short) ${failure}`)].map(
      (failure) => `  ${recording.provider}/${recording.id}: ${failure}`,
    ),
  )
  return lines.length === 0 ? ['no failures'] : [`${lines.length} failures`, ...lines]
}
