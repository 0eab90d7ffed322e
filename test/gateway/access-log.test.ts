import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { call, HELLO } from './caller.ts'
import { answers, openProvider } from './provider.ts'
import { startServer } from './server-process.ts'

it('logs how long the provider was read, of a stream to its end', async () => {
  const provider = await openProvider(answers({ pieces: 4, pauseMs: 60 }))
  const dataDir = mkdtempSync(join(tmpdir(), 'tollgate-log-'))
  const server = await startServer({
    dataDir,
    settings: {
      providers: {
        stand: {
          kind: 'openai',
          base_url: provider.baseUrl,
          api_key: 'k',
          allow_private_network: true,
          prices: { '*': { input: '1', output: '1' } },
        },
      },
    },
  })
  onTestFinished(async () => {
    server.kill('SIGTERM')
    await server.exited
    await provider.close()
    rmSync(dataDir, { recursive: true, force: true })
  })
  const body = { model: 'stand/m1', messages: HELLO, max_tokens: 9, stream: true }
  const reply = await call(server.dataUrl, body, { key: server.firstKey! })
  expect(reply.complete).toBe(true)
  const lineOf = (): string | undefined =>
    server.stdout.split('\n').find((line) => line.includes(reply.requestId))
  await expect.poll(lineOf).toBeDefined()
  const { upstreamMs, durationMs } = JSON.parse(lineOf()!)
  expect(upstreamMs).toBeGreaterThan(200)
  expect(upstreamMs).toBeLessThanOrEqual(durationMs)
  // The head leaves with the first event, and can tell no more than that took.
  const [, told] = /upstream;dur=([\d.]+)/.exec(String(reply.headers['server-timing'])) ?? []
  expect(Number(told)).toBeLessThan(upstreamMs - 150)
})
