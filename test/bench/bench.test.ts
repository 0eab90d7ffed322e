import { describe, expect, it } from 'vitest'
import { bench } from './index.ts'

describe('the bench', () => {
  it('measures every row, without one failed request', async () => {
    const rows = await bench({ seconds: 0.1, rounds: 1, warmUp: 1, streams: 3 })

    const figures = rows.map(({ what, figure }) => `${what.trim()}: ${figure}`)
    expect(figures.filter((line) => !/\d/.test(line) || /NaN|Infinity/.test(line))).toEqual([])
    expect(rows.filter(({ aim }) => aim !== undefined).length).toBeGreaterThanOrEqual(11)
  }, 120_000)
})
