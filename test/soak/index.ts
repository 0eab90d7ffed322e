import { parseArgs } from 'node:util'
import { budgetRaces } from './budget-races.ts'
import { crashes } from './crashes.ts'

/**
 * The long runs, some ten minutes: `npm run soak`, or one of them by name:
 * `npm run soak -- crashes --rounds 20`. With `--database-url` of an empty Postgres database
 * the races run on it as well.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '100' },
    requests: { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    'database-url': { type: 'string' },
  },
})
const [only] = positionals
const seeds = Number(values.seeds)
const requests = Number(values.requests)
let sound = true

if (only === undefined || only === 'races') {
  sound = (await budgetRaces(seeds, requests)) && sound
  const url = values['database-url']
  if (url !== undefined) sound = (await budgetRaces(seeds, requests, url)) && sound
}
if (only === undefined || only === 'crashes') {
  sound = (await crashes(Number(values.rounds), Number(values.seed))) && sound
}
process.exitCode = sound ? 0 : 1
