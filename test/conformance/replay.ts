import { anthropic } from './anthropic.ts'
import type { Bench } from './bench.ts'
import { checkEmbeddings } from './embeddings.ts'
import { replayContents } from './google-embeddings.ts'
import { google } from './google.ts'
import { newFindings, unserved } from './explained.ts'
import type { Findings, Kind } from './explained.ts'
import { fields, objects, text } from './json.ts'
import { mistral } from './mistral.ts'
import { bodyOf, bytesOf, prefixed, replayChat, replayCutChat, reportedBy } from './openai-wire.ts'
import { checkError, checkHead, checkRefusal } from './outcome.ts'
import type { Recording } from './recordings.ts'
import type { Result } from './report.ts'
import type { Schemas } from './schemas.ts'
import { replayCut, replayTranslated } from './translated.ts'
import type { NativeWire } from './translated.ts'

/** Providers with a wire of their own, and the path of its chats. */
const NATIVE: Readonly<Record<string, { readonly wire: NativeWire; readonly chat: RegExp }>> = {
  anthropic: { wire: anthropic, chat: /^\/v1\/messages$/ },
  google: { wire: google, chat: /:(streamGenerate|generate)Content$/ },
  mistral: { wire: mistral, chat: /\/chat\/completions$/ },
}

type Play = (findings: Findings) => Promise<void>

/** How a recording is played: as it was and, for a stream, broken off. */
interface Plan {
  readonly whole: Play
  readonly cut?: Play
  /** Why it is not played after all. */
  readonly unplayable?: Kind
}

/** Puts one recording through the gateway; a stream a second time, broken off. */
export async function replay(
  bench: Bench,
  recording: Recording,
  schemas: Schemas,
): Promise<Result> {
  const plan = planFor(bench, recording, schemas)
  const whole = newFindings()
  if (plan === undefined) {
    whole.explained.add(unserved(recording.request.path))
    return { recording, whole }
  }
  if (plan.unplayable !== undefined) {
    whole.explained.add(plan.unplayable)
    return { recording, whole }
  }
  await plan.whole(whole)
  const { frames = [] } = recording.response
  if (plan.cut === undefined || frames.length < 2) return { recording, whole }
  const cut = newFindings()
  await plan.cut(cut)
  return { recording, whole, cut }
}

function planFor(bench: Bench, recording: Recording, schemas: Schemas): Plan | undefined {
  const { provider, request } = recording
  if (request.method !== 'POST') return undefined
  const native = NATIVE[provider]
  if (native?.chat.test(request.path) === true) {
    const { wire } = native
    return {
      whole: (findings) => replayTranslated(bench, wire, recording, schemas, findings),
      cut: (findings) => replayCut(bench, wire, recording, findings),
    }
  }
  if (request.path.endsWith(':batchEmbedContents')) {
    return { whole: (findings) => replayContents(bench, recording, findings) }
  }
  if (provider === 'anthropic' || provider === 'google') return undefined
  if (request.path.endsWith('/chat/completions')) {
    const { model } = bodyOf(recording)
    return {
      ...(typeof model !== 'string' && { unplayable: 'no-model' }),
      whole: (findings) => replayChat(bench, recording, findings),
      cut: (findings) => replayCutChat(bench, recording, findings),
    }
  }
  if (request.path.endsWith('/embeddings') && request.path !== '/api/embeddings') {
    return { whole: (findings) => replayEmbeddings(bench, recording, findings) }
  }
  return undefined
}

async function replayEmbeddings(
  bench: Bench,
  recording: Recording,
  findings: Findings,
): Promise<void> {
  const asked = bodyOf(recording)
  const exchange = await bench.ask('/v1/embeddings', prefixed(asked, recording), {
    ...recording.response,
    parts: [bytesOf(recording)],
  })
  if (checkRefusal(exchange, recording, asked, findings)) return
  checkHead(exchange, recording, findings)
  if (recording.response.status >= 400) return checkError(exchange, recording, findings)
  const answer = fields(recording.response.json)
  const expected = {
    vectors: objects(answer['data']).map(({ embedding }) =>
      // Perplexity's are signed bytes.
      recording.provider === 'perplexity' ? signedBytes(embedding) : embedding,
    ),
    reported: reportedBy(answer['usage'], recording),
  }
  checkEmbeddings(exchange, recording, expected, asked['encoding_format'], findings)
}

function signedBytes(embedding: unknown): readonly number[] {
  return Array.from(new Int8Array(Buffer.from(text(embedding), 'base64')))
}
