import { openGateway } from '../gateway.ts'
import { parsed } from './json.ts'
import type { Fields } from './json.ts'
import { startStandIn } from './stand-in.ts'
import type { Received, Reply } from './stand-in.ts'

/** A gateway between us and a stand-in for every provider. */
export interface Bench {
  /** Posts a body to the gateway while the provider answers as told. */
  ask(path: string, body: object, reply: Reply): Promise<Exchange>
  close(): Promise<void>
}

/** All that can be seen of one request, from both sides and on the ledger. */
export interface Exchange {
  readonly status: number
  readonly headers: Headers
  readonly body: Buffer
  /** What the provider was sent; several times where the gateway tried again. */
  readonly received: readonly Received[]
  /** Ledger entries as the control plane shows them. */
  readonly entries: readonly Fields[]
}

/** The credential the gateway holds for a provider, by the provider's folder. */
export function credentialOf(folder: string): string {
  return `conformance-credential-of-${folder}`
}

/** By the name of a folder of recordings, the kind of provider it is of: what is run unasked. */
export const KINDS: Readonly<Record<string, string>> = {
  'openai-chat': 'openai',
  anthropic: 'anthropic',
  google: 'google',
  mistral: 'mistral',
  groq: 'groq',
  deepseek: 'deepseek',
  xai: 'xai',
  ollama: 'ollama',
  llamacpp: 'llamacpp',
  vllm: 'vllm',
  openrouter: 'openrouter',
}

/** What is run when it is named. */
const MORE_KINDS: Readonly<Record<string, string>> = {
  alibaba: 'alibaba',
  avian: 'openai-compatible',
  cerebras: 'cerebras',
  crusoe: 'openai-compatible',
  gpustack: 'openai-compatible',
  heroku: 'openai-compatible',
  huggingface: 'huggingface',
  'litellm-proxy': 'openai-compatible',
  lmstudio: 'lmstudio',
  moonshotai: 'moonshot',
  'ollama-cloud': 'ollama',
  'openai-compatible-misc': 'openai-compatible',
  perplexity: 'perplexity',
  snowflake: 'snowflake',
  together: 'together',
  'vercel-gateway': 'openai-compatible',
  zai: 'zai',
}

/** Kinds whose base address is the host's root; all others take one with the version. */
const ROOTED = new Set(['anthropic', 'google', 'mistral'])

/** US dollars per million tokens; not 0, so that a lost cost shows. */
const PRICES = { '*': { input: '1', output: '2' } }

export async function startBench(): Promise<Bench> {
  const standIn = await startStandIn()
  const gateway = await openGateway({
    durability: 'normal',
    // What a second attempt does is no matter of wires.
    max_attempts: 1,
    providers: Object.fromEntries(
      Object.entries({ ...KINDS, ...MORE_KINDS }).map(([folder, kind]) => [
        folder,
        {
          kind,
          api_key: credentialOf(folder),
          base_url: `${standIn.url}/${folder}${ROOTED.has(kind) ? '' : '/v1'}`,
          allow_private_network: true,
          prices: PRICES,
        },
      ]),
    ),
  })

  return {
    async ask(path, body, reply) {
      standIn.take()
      standIn.play(reply)
      const answer = await fetch(`${gateway.dataUrl}${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${gateway.key}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      const bytes = Buffer.from(await answer.arrayBuffer())
      const received = standIn.take()
      const requestId = answer.headers.get('x-request-id') ?? ''
      return {
        status: answer.status,
        headers: answer.headers,
        body: bytes,
        received,
        // A request refused before it left has none, and is not waited for.
        entries: received.length === 0 ? [] : (await gateway.entries(requestId)).map(asFields),
      }
    },
    async close() {
      await gateway.close()
      await standIn.close()
    },
  }
}

function asFields(entry: object): Fields {
  return { ...entry }
}

export function jsonOf({ body }: Exchange): unknown {
  return parsed(body.toString('utf8'))
}
