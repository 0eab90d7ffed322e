import { describe, expect, it } from 'vitest'
import { parseUsd } from '../../src/metering/money.ts'
import { csvLine, readCsv } from '../../src/reports/csv.ts'
import { readUsageExport } from '../../src/reports/usage-export.ts'

const read = (text: string): ReturnType<typeof readUsageExport> => readUsageExport(text, parseUsd)

describe("a provider's usage export", () => {
  it("is read as OpenAI's dashboard writes it", () => {
    const csv =
      'start_time,end_time,num_model_requests,model,input_tokens,output_tokens,input_cached_tokens\r\n' +
      '1793577600,1793664000,12,gpt-5-mini-2025-08-07,4000,800,1000\r\n'
    expect(read(csv)).toEqual({
      by: 'day',
      records: [
        {
          id: '2026-11-02 gpt-5-mini-2025-08-07',
          day: '2026-11-02',
          model: 'gpt-5-mini-2025-08-07',
          requests: 12,
          inputTokens: 4000,
          outputTokens: 800,
          cachedTokens: 1000,
        },
      ],
    })
  })

  it("is read as the pages of OpenAI's usage API", () => {
    const page = {
      object: 'page',
      data: [
        {
          object: 'bucket',
          start_time: 1793577600,
          results: [{ model: 'gpt-5', input_tokens: 5, output_tokens: 6, num_model_requests: 2 }],
        },
      ],
    }
    expect(read(JSON.stringify(page)).records).toMatchObject([
      { day: '2026-11-02', model: 'gpt-5', requests: 2, inputTokens: 5, outputTokens: 6 },
    ])
  })

  it("is read as Anthropic's console writes it, whose input leaves the cache out", () => {
    const csv =
      'usage_date_utc,model_version,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,' +
      'usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens\n' +
      '2026-11-02,claude-haiku-4-5,100,20,30,50,7\n'
    expect(read(csv).records[0]).toMatchObject({
      inputTokens: 200,
      cachedTokens: 50,
      outputTokens: 7,
    })
  })

  it('goes by the request where it names one, with costs to the nano-dollar', () => {
    const csv = 'Request ID,Timestamp,Model,Cost USD\nreq-1,2026-11-02T23:59:59Z,m,0.000001234\n'
    expect(read(csv)).toMatchObject({
      by: 'request',
      records: [{ id: 'req-1', day: '2026-11-02', requests: 1, cost: 1234n }],
    })
  })

  it.each([
    ['', /no lines/],
    ['a,b\n1,2\n', /no column for the day/],
    ['day,model\n2026-11-02,m\n', /neither tokens nor costs/],
    ['day,model,input_tokens\nsoon,m,1\n', /Line 2: "soon" is no day/],
    ['day,model,input_tokens\n2026-11-02,m,-4\n', /Line 2: input_tokens/],
    ['day,model,cost\n2026-11-02,m,lots\n', /Line 2: "lots"/],
    ['day,model,cost\n2026-11-02,m\n', /Line 2 has 2 cells/],
    ['day,model,cost\n"2026,m,1\n', /never closed/],
    ['{"data":', /is none/],
  ])('that is %j is refused with what was expected', (text, message) => {
    expect(() => read(text)).toThrow(message)
  })
})

describe('CSV', () => {
  it('comes back as it was written', () => {
    const cells = ['plain', 'a "quoted", one', 'two\nlines', '', '-12.5']
    const text = csvLine(['a', 'b', 'c', 'd', 'e']) + csvLine(cells)
    expect(Object.values(readCsv(text)[0]!)).toEqual(cells)
  })

  it('runs no formula that a name holds', () => {
    expect(csvLine(['=HYPERLINK("x")', '+1+1', '@now'])).toBe(
      `"'=HYPERLINK(""x"")",'+1+1,'@now\r\n`,
    )
  })
})
