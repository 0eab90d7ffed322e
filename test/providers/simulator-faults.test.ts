import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FAULTS } from '../../providers/simulator/faults.ts'
import { type Simulator, startSimulator } from '../../providers/simulator/server.ts'

let server: Simulator
beforeAll(async () => {
  server = await startSimulator({ token: 'secret' })
})
afterAll(() => server.close())

describe('a fault of the simulator', () => {
  it('is a status, with what else is ordered', async () => {
    const response = await ask('status-429?retry-after=2&code=slow_down&message=Slow%20down')
    expect(response.status).toBe(429)
    expect(response.headers.get('retry-after')).toBe('2')
    expect(await response.json()).toEqual({
      error: { message: 'Slow down', type: 'rate_limit_error', param: null, code: 'slow_down' },
    })
  })

  it('is ordered by header too, for any model', async () => {
    const response = await post({ model: 'echo' }, { 'x-simulator-fault': 'status-503' })
    expect(response.status).toBe(503)
  })

  it.each([
    ['latency-500', false],
    ['first-token-500', true],
  ])('%s delays what it says', async (fault, headersAtOnce) => {
    const start = performance.now()
    const response = await ask(fault, true)
    const headersMs = performance.now() - start
    await response.text()
    expect(performance.now() - start).toBeGreaterThanOrEqual(490)
    expect(headersMs < 400).toBe(headersAtOnce)
  })

  it('is a gap between frames', async () => {
    const start = performance.now()
    await (await ask('gap-10', true, { max_tokens: 5 })).text()
    expect(performance.now() - start).toBeGreaterThanOrEqual(50)
  })

  it('is a stream that ends too soon, as if it were complete', async () => {
    const frames = await framesOf(await ask('cut-after-3', true))
    expect(frames).toHaveLength(3)
    expect(frames.join('')).not.toMatch(/finish_reason":"|DONE/)
  })

  it('is a cut before the end marker even of a short stream', async () => {
    const frames = await framesOf(await ask('cut-after-999', true))
    expect(frames.at(-1)).toContain('"finish_reason":"stop"')
  })

  it.each([
    ['reset', false],
    ['reset', true],
    ['reset-after-2', true],
    ['reset-after-2', false],
    ['cut-after-2', false],
  ])('%s breaks the connection (streamed: %s)', async (fault, stream) => {
    await expect(ask(fault, stream).then((response) => response.text())).rejects.toThrow()
  })

  it.each([
    ['malformed-after-2', true, 'data: {"id":"chatcmpl-\n\n'],
    ['half-json', true, 'data: {"id":"chatcmpl-\n\n'],
    ['error-after-2', true, '"error":{"message":"The simulator was told to fail"'],
    ['html', true, '<!doctype html>'],
    ['html', false, '<!doctype html>'],
  ])('%s has its mark in the body (streamed: %s)', async (fault, stream, mark) => {
    const response = await ask(fault, stream)
    expect(response.status).toBe(200)
    expect(await response.text()).toContain(mark)
  })

  it.each(['half-json', 'malformed-after-2', 'empty'])('%s is no JSON', async (fault) => {
    const response = await ask(fault)
    expect(response.status).toBe(200)
    await expect(response.json()).rejects.toThrow()
  })

  it.each([
    ['usage-missing', undefined],
    ['usage-negative', { prompt_tokens: -5 }],
    ['usage-absurd', { completion_tokens: 1e18, total_tokens: 3 }],
  ])('%s reports %o', async (fault, usage) => {
    const answer: unknown = await (await ask(fault)).json()
    if (usage === undefined) expect(answer).not.toHaveProperty('usage')
    else expect(answer).toMatchObject({ usage })
  })

  it.each([true, false])('is an answer without an end (streamed: %s)', async (stream) => {
    const gone = new AbortController()
    const response = await ask('endless', stream, {}, gone.signal)
    let size = 0
    for await (const bytes of response.body ?? []) {
      size += bytes.length
      if (size > 3_000_000) break
    }
    gone.abort()
    expect(size).toBeGreaterThan(3_000_000)
  })

  it('is no answer at all', async () => {
    await expect(ask('silent', false, {}, AbortSignal.timeout(60))).rejects.toThrow(/timeout/i)
  })

  it('may be several at once', async () => {
    const start = performance.now()
    const response = await ask('latency-50,status-500')
    expect(response.status).toBe(500)
    expect(performance.now() - start).toBeGreaterThanOrEqual(45)
  })

  it.each(['status', 'status-', 'latency-x', 'nonsense', 'cut-after-<n>', 'html-3'])(
    'named %s is refused, with those there are',
    async (fault) => {
      const response = await ask(fault)
      expect(response.status).toBe(400)
      expect(await response.text()).toContain('first-token-<ms>')
    },
  )

  it('has a line in the table that the documentation prints', () => {
    for (const [name, words] of Object.entries(FAULTS)) {
      expect(name).toMatch(/^[a-z-]+(<(n|ms)>)?$/)
      expect(words).toMatch(/^[A-Z].*[^.]$/)
    }
  })

  it('leaves the server well', async () => {
    const response = await post({ model: 'echo' })
    expect(await response.json()).toMatchObject({ choices: [{ message: { content: 'Hello' } }] })
  })
})

function ask(fault: string, stream = false, more: object = {}, signal?: AbortSignal) {
  return post({ model: `fault/${fault}`, stream, ...more }, {}, signal)
}

function post(body: object, headers: Record<string, string> = {}, signal?: AbortSignal) {
  return fetch(`${server.baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { authorization: 'Bearer secret', ...headers },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }], ...body }),
    ...(signal === undefined ? {} : { signal }),
  })
}

async function framesOf(response: Response): Promise<string[]> {
  return (await response.text()).split('\n\n').filter(Boolean)
}
