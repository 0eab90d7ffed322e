import { parseArgs } from 'node:util'
import { budgetRaces } from './budget-races.ts'
import { crashes } from './crashes.ts'
import { mixes } from './mixes.ts'
import { powerLoss } from './power-loss.ts'
import { reports } from './reports.ts'

/**
 * The long runs, some fifteen minutes: `npm run soak`, or one of them by name. `power` needs strace:
 * `npm run soak -- crashes --rounds 20`. With `--database-url` of an empty Postgres database
 * they run on it as well. `npm run soak -- reports --ledger 10000000` times reports, and chat beside
 * them; with `--folder` its ledger is kept, and used again.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '100' },
    requests: { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    entries: { type: 'string', default: '1000' },
    ledger: { type: 'string', default: '1000000' },
    operations: { type: 'string', default: '1000000' },
    folder: { type: 'string' },
    'database-url': { type: 'string' },
  },
})
const [only] = positionals
const seeds = Number(values.seeds)
const requests = Number(values.requests)
const rounds = Number(values.rounds)
const seed = Number(values.seed)
const url = values['database-url']
let sound = true

if (only === undefined || only === 'races') {
  sound = (await budgetRaces(seeds, requests)) && sound
  if (url !== undefined) sound = (await budgetRaces(seeds, requests, url)) && sound
}
if (only === undefined || only === 'mixes') {
  sound = (await mixes(Number(values.operations), seed)) && sound
}
if (only === undefined || only === 'crashes') {
  sound = (await crashes(rounds, seed)) && sound
  // Each waits for a lease to end.
  if (url !== undefined) sound = (await crashes(Math.ceil(rounds / 20), seed, url)) && sound
}
if (only === undefined || only === 'power') {
  sound = (await powerLoss(Number(values.entries), seed)) && sound
}
// By name alone: ten million entries take 7 GB, and a quarter of an hour.
if (only === 'reports') {
  sound = (await reports(Number(values.ledger), values.folder)) && sound
}
process.exitCode = sound ? 0 : 1
