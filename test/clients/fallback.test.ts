import { describe, expect, it } from 'vitest'
import type { Reply } from '../stand-ins/stand-in.ts'
import { streamed } from './reading.ts'
import { text } from './scenarios.ts'
import { KINDS, MAJORS, MODELS, priceOf, setStage } from './stage.ts'
import type { Kind } from './wires.ts'

/** Each kind of provider with the next one behind it. */
const PAIRS = KINDS.map((kind, at) => [kind, KINDS[(at + 1) % KINDS.length]!] as const)
const nameOf = (kind: Kind): string => `${kind}/${MODELS[kind]}`

const stage = setStage({
  models: Object.fromEntries(
    PAIRS.map(([first, second]) => [
      `${first}-first`,
      { targets: [nameOf(first)], fallbacks: [nameOf(second)] },
    ]),
  ),
})

interface Failure {
  readonly reply: Reply
  readonly code: string
  readonly usageSource: 'none' | 'estimated'
}

const REFUSED: Readonly<Record<string, Failure>> = {
  'is overloaded': {
    reply: { refuses: 'overloaded' },
    code: 'upstream_error',
    usageSource: 'none',
  },
  'limits us': {
    reply: { refuses: 'rateLimited' },
    code: 'upstream_rate_limited',
    usageSource: 'none',
  },
  'refuses our credential': {
    reply: { refuses: 'badCredential' },
    code: 'upstream_rejected',
    usageSource: 'none',
  },
}
const BROKEN: Readonly<Record<string, Failure>> = {
  'reports an error before its first word': {
    reply: { says: text.says, breaks: { when: 'early', how: 'error' } },
    code: 'upstream_error',
    usageSource: 'estimated',
  },
  'breaks off before its first word': {
    reply: { says: text.says, breaks: { when: 'early', how: 'cut' } },
    code: 'upstream_error',
    usageSource: 'estimated',
  },
}

describe.each(MAJORS)('%s', (major) => {
  describe.each(PAIRS)('asks %s, then %s', (first, second) => {
    it.each(Object.entries(REFUSED))('when it %s', async (_, failure) => {
      prepare(first, second, failure)
      const answer = await stage.clients[major].chat.completions.create({
        ...text.asked,
        model: `${first}-first`,
      })
      expect(answer.choices[0]?.message.content).toBe(text.says.text)
      expect(stage.headers['x-tollgate-cost-usd']).toBe(priceOf(text.says.usage))
      await expectFallback(first, second, failure)
    })

    it.each(Object.entries({ ...REFUSED, ...BROKEN }))(
      'for a stream, when it %s',
      async (_, failure) => {
        prepare(first, second, failure)
        const body = { ...text.asked, model: `${first}-first` }
        const answer = await streamed(stage.clients[major], body)
        expect(answer.choices[0]?.message.content).toBe(text.says.text)
        await expectFallback(first, second, failure)
      },
    )
  })

  it('is told what every target met when none answers', async () => {
    stage.providers.openai.plays({ refuses: 'overloaded' })
    stage.providers.anthropic.plays({ refuses: 'rateLimited' })
    const asked = stage.clients[major].chat.completions.create({
      ...text.asked,
      model: 'openai-first',
    })
    await expect(asked).rejects.toMatchObject({
      status: 429,
      code: 'upstream_rate_limited',
      error: {
        details: {
          attempts: [
            { target: 'openai/gpt-5-mini', code: 'upstream_error' },
            { target: 'anthropic/claude-sonnet-4-5', code: 'upstream_rate_limited' },
          ],
        },
      },
    })
    expect(stage.headers).toMatchObject({ 'retry-after': '7' })
  })

  it('is not passed on with what is its own mistake', async () => {
    stage.providers.openai.plays({ refuses: 'tooLong' })
    const asked = stage.clients[major].chat.completions.create({
      ...text.asked,
      model: 'openai-first',
    })
    await expect(asked).rejects.toMatchObject({ code: 'context_length_exceeded' })
    expect(stage.providers.anthropic.received).toEqual([])
  })
})

function prepare(first: Kind, second: Kind, { reply }: Failure): void {
  stage.providers[first].plays(reply)
  stage.providers[second].plays({ says: text.says })
}

async function expectFallback(first: Kind, second: Kind, failure: Failure): Promise<void> {
  const { code, usageSource } = failure
  expect(stage.headers).toMatchObject({
    'x-tollgate-model': nameOf(second),
    'x-tollgate-provider': second,
    'x-tollgate-attempts': '2',
    'x-tollgate-route-reason': `fallback:${code}`,
  })
  expect(stage.providers[first].received).toHaveLength(1)
  expect(stage.providers[second].received).toHaveLength(1)
  const entries = await stage.gateway.entries(stage.headers['x-request-id']!, 2)
  expect(entries).toMatchObject([
    { attempt: 1, provider: first, outcome: 'error', error_code: code, usage_source: usageSource },
    { attempt: 2, provider: second, outcome: 'ok', usage_source: 'provider' },
  ])
}
