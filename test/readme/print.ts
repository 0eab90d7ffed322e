import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { withTables } from './tables.ts'

// `npm run readme`: prints the README's tables from the code.
const file = join(import.meta.dirname, '../../README.md')
writeFileSync(file, withTables(readFileSync(file, 'utf8')))
