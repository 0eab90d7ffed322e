import { describe, expect, it } from 'vitest'
import { providers } from '../../providers/index.ts'
import {
  type Asked,
  type Candidate,
  type ChatRequest,
  inputTokens,
  outputTokens,
  type Provider,
  type Tally,
} from '#protocol'
import type { Measured } from '../../src/metering/account.ts'
import { createCalibration } from '../../src/metering/calibration.ts'
import { createMeter } from '../../src/metering/meter.ts'
import { createPriceBook } from '../../src/metering/prices.ts'
import { type Dice, dice } from '../gateway/dice.ts'

/** Usages generated, over all wires. */
const USAGES = 100_000
const NOON = Date.parse('2026-11-23T12:00Z')
const TEXT = 'ten words of an answer that somebody has to pay for'

const REQUEST: ChatRequest = {
  model: 'm',
  messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello there' }] }],
  stream: true,
  includeUsage: true,
  providerOptions: {},
}
const ASKED: Asked = { operation: 'chat', request: REQUEST }

const BOOK = createPriceBook({
  catalogue: { version: 'none', providers: {}, serviceTiers: {}, billedApart: {} },
  rows: [
    {
      id: 'price_1',
      provider: '*',
      model: '*',
      rates: {
        input: '1.234567890123',
        output: '9.87',
        cache_read: '0.1',
        cache_write_1h: '2.5',
        web_search: '0.01',
        above: [{ input_tokens: 200_000, input: '2.5', output: '15' }],
        service_tiers: { flex: { multiplier: '0.5' } },
      },
      revision: 1,
      origin: 'table',
    },
    {
      id: 'price_2',
      provider: 'anthropic',
      model: '*',
      discount: '33.333333',
      revision: 2,
      origin: 'table',
      tenantId: 'tenant_1',
    },
  ],
})

/** What a provider may say of a count. */
const SAID: readonly ((dice: Dice) => unknown)[] = [
  (dice) => dice.below(1000),
  (dice) => dice.below(1000),
  (dice) => dice.below(300_000),
  () => 0,
  () => undefined,
  () => null,
  (dice) => -1 - dice.below(1000),
  () => Number.NaN,
  () => 1e308,
  () => Number.POSITIVE_INFINITY,
  () => Number.MAX_SAFE_INTEGER,
  () => 2 ** 53,
  (dice) => dice.next() * 100,
  (dice) => String(dice.below(1000)),
  () => 'many',
  () => ({}),
  () => [7],
  () => true,
]

/** The next count of a piece. */
type Count = () => unknown

/** How a wire says its usage, in one piece of a stream or in two, and what else a stream needs. */
interface WireUnderTest {
  readonly kind: string
  /** Data of the frames of one answer. */
  readonly frames: (usage: () => Count, split: boolean) => readonly object[]
}

const WIRES: readonly WireUnderTest[] = [
  {
    kind: 'openai',
    frames(next, split) {
      const chunk = (rest: object) => ({
        id: 'c',
        object: 'chat.completion.chunk',
        created: 1,
        model: 'm',
        ...rest,
      })
      const usage = (count = next()) => ({
        prompt_tokens: count(),
        completion_tokens: count(),
        total_tokens: count(),
        prompt_tokens_details: { cached_tokens: count(), audio_tokens: count() },
        completion_tokens_details: { reasoning_tokens: count(), audio_tokens: count() },
      })
      return [
        chunk({ choices: [{ index: 0, delta: { role: 'assistant', content: TEXT } }] }),
        chunk({
          choices: [{ index: 0, delta: {}, finish_reason: 'stop' }],
          ...(split && { usage: usage() }),
        }),
        chunk({ choices: [], usage: usage() }),
      ]
    },
  },
  {
    kind: 'anthropic',
    frames(next, split) {
      const usage = (count = next()) => ({
        input_tokens: count(),
        output_tokens: count(),
        cache_read_input_tokens: count(),
        cache_creation_input_tokens: count(),
        cache_creation: { ephemeral_1h_input_tokens: count(), ephemeral_5m_input_tokens: count() },
        server_tool_use: { web_search_requests: count() },
      })
      return [
        {
          type: 'message_start',
          message: {
            id: 'm',
            type: 'message',
            role: 'assistant',
            model: 'm',
            content: [],
            usage: split ? usage() : { input_tokens: 1, output_tokens: 1 },
          },
        },
        { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
        { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: TEXT } },
        { type: 'content_block_stop', index: 0 },
        { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: usage() },
        { type: 'message_stop' },
      ]
    },
  },
  {
    kind: 'google',
    frames(next, split) {
      const usage = (count = next()) => ({
        promptTokenCount: count(),
        candidatesTokenCount: count(),
        totalTokenCount: count(),
        thoughtsTokenCount: count(),
        cachedContentTokenCount: count(),
        promptTokensDetails: [{ modality: 'AUDIO', tokenCount: count() }],
      })
      const candidate = (rest: object) => ({
        candidates: [{ index: 0, content: { role: 'model', parts: [{ text: TEXT }] }, ...rest }],
        modelVersion: 'm',
      })
      return [
        { ...candidate({}), ...(split && { usageMetadata: usage() }) },
        { ...candidate({ finishReason: 'STOP' }), usageMetadata: usage() },
      ]
    },
  },
  {
    kind: 'mistral',
    frames(next, split) {
      const chunk = (rest: object) => ({
        id: 'c',
        object: 'chat.completion.chunk',
        model: 'm',
        ...rest,
      })
      const usage = (count = next()) => ({
        prompt_tokens: count(),
        completion_tokens: count(),
        total_tokens: count(),
        prompt_tokens_details: { cached_tokens: count(), audio_tokens: count() },
      })
      return [
        chunk({
          choices: [{ index: 0, delta: { role: 'assistant', content: TEXT }, finish_reason: null }],
          ...(split && { usage: usage() }),
        }),
        chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], usage: usage() }),
      ]
    },
  },
]

describe('whatever a provider says of usage', () => {
  for (const [index, wire] of WIRES.entries()) {
    it(`${wire.kind}: no entry is negative, no fraction, nothing free that was not said to be`, async () => {
      const roll = dice(31 + index)
      const provider = providers.get(wire.kind)!
      const meter = createMeter({
        book: () => BOOK,
        facts: () => undefined,
        calibration: createCalibration(),
        countTokens: async (text) => text.split(' ').length,
        unpriced: () => 'refuse',
      })
      const candidate = candidateOf(provider)
      const demand = meter.demand(ASKED, [candidate], meter.terms('tenant_1', NOON))
      const kinds = { provider: 0, estimated: 0, none: 0 }

      for (let run = 0; run < USAGES / WIRES.length; run++) {
        const isSane = roll.chance(0.3)
        /** By the piece that says them, prompt and answer first. */
        const said: unknown[][] = []
        const usage = (): Count => {
          const counts: unknown[] = []
          said.push(counts)
          return () => {
            const value = roll.pick(isSane ? SAID.slice(0, 5) : SAID)(roll)
            counts.push(value)
            return value
          }
        }
        const frames = wire.frames(usage, roll.chance(0.5))
        const tally = read(provider, frames)
        const measuring = meter.measure({
          candidate,
          tally,
          sent: true,
          outcome: 'ok',
          refused: false,
          promptBound: demand.inputTokens,
          demand,
          at: NOON,
        })
        const measured = measuring instanceof Promise ? await measuring : measuring
        check(measured, said, () =>
          JSON.stringify({ run, said: said.map((counts) => counts.map(String)), measured }, text),
        )
        kinds[measured.usageSource]++
      }
      // Both ways were gone, many times.
      expect(kinds.provider).toBeGreaterThan(1000)
      expect(kinds.estimated).toBeGreaterThan(1000)
    })
  }
})

/** By hand: an assertion of the framework for each would take minutes. */
function check(
  { usage, usageSource, cost, costLines }: Measured,
  said: readonly (readonly unknown[])[],
  what: () => string,
): void {
  const wrong = (reason: string): never => expect.fail(`${reason}: ${what()}`)
  for (const count of Object.values(usage)) {
    if (!Number.isSafeInteger(count) || count < 0) wrong('a count that is none')
  }
  if (cost === undefined) return wrong('it has no cost')
  if (cost < 0n) wrong('a negative cost')
  const lines = costLines ?? []
  if (lines.some((line) => line.cost < 0n)) wrong('a negative line')
  if (lines.reduce((sum, line) => sum + line.cost, 0n) !== cost) wrong('lines that do not add up')
  const tokens = inputTokens(usage) + outputTokens(usage)
  if (cost === 0n && tokens > 0) wrong('tokens for nothing')
  // The answer has text: only who plainly counted zero is paid nothing for it.
  const isPlain = usageSource === 'provider' && said.some(isPlainZero)
  if (cost === 0n && !isPlain) wrong('free')
}

/** Of the prompt's, the answer's and a third count, one is 0 and the others too, or not there. */
function isPlainZero(said: readonly unknown[]): boolean {
  const main = said.slice(0, 3)
  // JSON has no word for what is not finite, and writes null.
  const isNothing = (count: unknown): boolean =>
    count == null || count === 0 || (typeof count === 'number' && !Number.isFinite(count))
  return main.slice(0, 2).every(isNothing) && main.includes(0)
}

function read(provider: Provider, frames: readonly object[]): Tally {
  const tally: Tally = { outputLength: 0, outputText: '' }
  const reader = provider.chat!.reader(REQUEST)
  const take = (events: ReturnType<typeof reader.read>): void => {
    for (const event of events) {
      if (event.type === 'text-delta') {
        tally.outputText += event.text
        tally.outputLength += event.text.length
      } else if (event.type === 'usage') {
        tally.usage = event.usage
        if (event.serviceTier !== undefined) tally.serviceTier = event.serviceTier
      } else if (event.type === 'finish') tally.finishReason = event.reason
    }
  }
  for (const frame of frames) {
    // As it comes: JSON has no NaN, but writers that print one there are.
    const data = JSON.stringify(frame)
    const name = 'type' in frame ? String(frame.type) : ''
    const parsed = provider.chat!.wire === 'anthropic-messages' ? name : ''
    take(reader.read({ event: parsed, data }))
  }
  take(reader.end())
  return tally
}

function text(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

function candidateOf(provider: Provider): Candidate {
  const baseUrl = 'http://127.0.0.1:1'
  return {
    name: `${provider.id}/m`,
    instance: {
      name: provider.id,
      provider,
      baseUrl,
      headers: {},
      allowPrivateNetwork: false,
      models: [],
      closed: false,
    },
    target: { provider: provider.id, model: 'm', baseUrl, headers: {} },
  }
}
