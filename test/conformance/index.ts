import { parseArgs } from 'node:util'
import { KINDS, startBench } from './bench.ts'
import { readRecordings } from './recordings.ts'
import { replay } from './replay.ts'
import { NO_SCHEMAS, readSchemas } from './schemas.ts'
import { failed, line, report } from './report.ts'
import type { Result } from './report.ts'

const USAGE =
  'npm run conformance -- <recordings> [--specs <folder>] [--provider <name>] [--id <part>] [--verbose]'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    specs: { type: 'string' },
    provider: { type: 'string', multiple: true },
    id: { type: 'string' },
    verbose: { type: 'boolean', default: false },
  },
})
const [folder] = positionals
if (folder === undefined) {
  process.stderr.write(`usage: ${USAGE}\n`)
  process.exit(2)
}
const recordings = readRecordings(folder, {
  providers: values.provider ?? Object.keys(KINDS),
  ...(values.id === undefined ? {} : { id: values.id }),
})
if (recordings.length === 0) {
  process.stderr.write(`there are no recordings for this in ${folder}\n`)
  process.exit(2)
}
const started = performance.now()
const schemas = values.specs === undefined ? NO_SCHEMAS : readSchemas(values.specs)
const bench = await startBench()
const results: Result[] = []
for (const recording of recordings) {
  const result = await replay(bench, recording, schemas)
  results.push(result)
  if (values.verbose) process.stdout.write(`${line(result)}\n`)
}
await bench.close()
const seconds = ((performance.now() - started) / 1000).toFixed(1)
process.stdout.write(`${report(results)}\n\n${results.length} recordings in ${seconds} s\n`)
if (failed(results)) process.exitCode = 1
