import OpenAI from 'openai'
import OpenAI6 from 'openai-6'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import { openGateway } from '../gateway.ts'
import type { TestGateway } from '../gateway.ts'
import { anthropic } from '../stand-ins/anthropic.ts'
import { google } from '../stand-ins/google.ts'
import { llamacpp } from '../stand-ins/llamacpp.ts'
import { mistral } from '../stand-ins/mistral.ts'
import { openai } from '../stand-ins/openai.ts'
import { openStandIn } from '../stand-ins/stand-in.ts'
import type { Character, StandIn } from '../stand-ins/stand-in.ts'
import type { Kind } from './wires.ts'

export const KINDS = ['openai', 'anthropic', 'google', 'mistral', 'llamacpp'] as const

/** A model of each kind: one whose name says what it can do. */
export const MODELS: Readonly<Record<Kind, string>> = {
  openai: 'gpt-5-mini',
  anthropic: 'claude-sonnet-4-5',
  google: 'gemini-3-pro-preview',
  mistral: 'mistral-medium-latest',
  llamacpp: 'qwen3-8b',
}

const CHARACTERS: Readonly<Record<Kind, Character>> = {
  openai,
  anthropic,
  google,
  mistral,
  llamacpp,
}

/** USD per million tokens, the same for all. */
export const PRICES = { input: '1', cache_read: '0.1', output: '10' }

/** What that comes to, as a decimal string. */
export function priceOf(usage: { prompt: number; cached: number; output: number }): string {
  const nanos = (usage.prompt - usage.cached) * 1000 + usage.cached * 100 + usage.output * 10_000
  return (nanos / 1e9).toFixed(9).replace(/0+$/, '')
}

/** The gateway between real clients and stand-ins of every kind of provider. */
export interface Stage {
  readonly gateway: TestGateway
  readonly providers: Readonly<Record<Kind, StandIn>>
  readonly clients: Readonly<Record<Major, OpenAI>>
  /** Headers of the gateway's last answer to one of the clients. */
  readonly headers: Readonly<Record<string, string>>
}

export type Major = 'openai 7' | 'openai 6'
export const MAJORS: readonly Major[] = ['openai 7', 'openai 6']

/** Sets the stage for the tests of a file; after each of them no provider may have complained. */
export function setStage(settings: object = {}): Stage {
  const stage = {} as { -readonly [Part in keyof Stage]: Stage[Part] }

  beforeAll(async () => {
    const opened = await Promise.all(
      KINDS.map(async (kind) => [kind, await openStandIn(CHARACTERS[kind])] as const),
    )
    stage.providers = Object.fromEntries(opened) as Record<Kind, StandIn>
    stage.gateway = await openGateway({
      providers: Object.fromEntries(opened.map(([kind, standIn]) => [kind, configure(standIn)])),
      ...settings,
    })
    const options = {
      baseURL: `${stage.gateway.dataUrl}/v1`,
      apiKey: stage.gateway.key,
      maxRetries: 0,
      async fetch(...call: Parameters<typeof fetch>) {
        const response = await fetch(...call)
        stage.headers = Object.fromEntries(response.headers)
        return response
      },
    }
    stage.clients = {
      'openai 7': new OpenAI(options),
      // What the tests call of it, both majors have alike.
      'openai 6': new OpenAI6(options) as unknown as OpenAI,
    }
  })

  afterEach(() => {
    const standIns = Object.values(stage.providers)
    const problems = standIns.flatMap((standIn) => standIn.problems)
    for (const standIn of standIns) standIn.reset()
    expect(problems).toEqual([])
  })

  afterAll(async () => {
    await stage.gateway.close()
    await Promise.all(Object.values(stage.providers).map((standIn) => standIn.close()))
  })

  return stage
}

function configure({ character, baseUrl }: StandIn): object {
  return {
    kind: character.id,
    api_key: character.credential,
    base_url: baseUrl,
    allow_private_network: true,
    prices: { '*': PRICES },
  }
}
