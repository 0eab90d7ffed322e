import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { withTables } from './tables.ts'

describe('the README', () => {
  it('has the tables that the code prints (npm run readme mends it)', () => {
    const text = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8')
    expect(text).toBe(withTables(text))
  })
})
