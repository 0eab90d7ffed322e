import { describe, expect, it } from 'vitest'
import { text } from './scenarios.ts'
import { KINDS, MAJORS, MODELS, setStage } from './stage.ts'

const stage = setStage()

/** Longest from the client's leaving to the provider's seeing it, ms; far more than it takes. */
const SOON_MS = 2000

describe.each(MAJORS)('%s leaves', (major) => {
  it.each(KINDS)('in the middle of a stream of %s', async (kind) => {
    const provider = stage.providers[kind]
    provider.plays({ says: text.says, breaks: { when: 'midway', how: 'stall' } })
    const stream = await stage.clients[major].chat.completions.create({
      ...text.asked,
      model: `${kind}/${MODELS[kind]}`,
      stream: true,
    })
    let left = 0
    for await (const { choices } of stream) {
      if (!choices[0]?.delta.content) continue
      left = performance.now()
      stream.controller.abort()
    }

    expect((await provider.received[0]!.abandoned) - left).toBeLessThan(SOON_MS)
    const [entry, ...others] = await stage.gateway.entries(stage.headers['x-request-id']!)
    expect(others).toEqual([])
    expect(entry).toMatchObject({
      outcome: 'aborted',
      error_code: 'client_closed_request',
      usage_source: 'estimated',
      stream: true,
    })
    expect(entry!.usage['input']).toBeGreaterThan(0)
    expect(entry!.usage['output']).toBeGreaterThan(0)
    expect(entry!.usage['output']).toBeLessThan(text.says.usage.output)
    expect(Number(entry!.cost_usd)).toBeGreaterThan(0)
  })

  it.each(KINDS)('before %s has answered', async (kind) => {
    const provider = stage.providers[kind]
    provider.plays({ hangs: true })
    const leaving = new AbortController()
    const asked = stage.clients[major].chat.completions.create(
      { ...text.asked, model: `${kind}/${MODELS[kind]}` },
      { signal: leaving.signal },
    )
    await expect.poll(() => provider.received.length, { interval: 2 }).toBe(1)
    const left = performance.now()
    leaving.abort()
    await expect(asked).rejects.toThrow('aborted')
    expect((await provider.received[0]!.abandoned) - left).toBeLessThan(SOON_MS)
  })
})
