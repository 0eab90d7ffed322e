import { GoogleGenerativeAI } from '@google/generative-ai'
import type {
  EnhancedGenerateContentResponse,
  GenerateContentRequest,
  GenerativeModel,
} from '@google/generative-ai'
import { describe, expect, it } from 'vitest'
import type { Received } from '../stand-ins/stand-in.ts'
import { readingOf, streamed } from './reading.ts'
import type { Reading } from './reading.ts'
import { SCENARIOS } from './scenarios.ts'
import { setStage } from './stage.ts'

const stage = setStage()
const MODEL = 'google/gemini-3-pro-preview'

const FINISHES: Readonly<Record<string, string>> = { STOP: 'stop', MAX_TOKENS: 'length' }

describe('@google/generative-ai', () => {
  describe.each(Object.entries(SCENARIOS))('%s', (_, { asked, says }) => {
    it('sends our request as it is, and reads the answer as we do', async () => {
      const { google } = stage.providers
      google.plays({ says }, { says })
      const answer = await stage.clients['openai 7'].chat.completions.create({
        ...asked,
        model: MODEL,
      })
      const { response } = await sdk().generateContent(ours())

      expectSameRequest()
      expect(asGeminiReads(readingOf(answer))).toEqual(readingOfGemini(response))
    })

    it('streamed, too', async () => {
      const { google } = stage.providers
      google.plays({ says }, { says })
      const answer = await streamed(stage.clients['openai 7'], { ...asked, model: MODEL })
      const { response } = await sdk().generateContentStream(ours())

      expect(asGeminiReads(readingOf(answer))).toEqual(readingOfGemini(await response))
      expectSameRequest()
    })
  })
})

/** A copy: the SDK writes into what it is given. */
function ours(): GenerateContentRequest {
  return structuredClone(stage.providers.google.received[0]!.body)
}

function sdk(): GenerativeModel {
  const { character, baseUrl } = stage.providers.google
  return new GoogleGenerativeAI(character.credential).getGenerativeModel(
    { model: 'gemini-3-pro-preview' },
    { baseUrl },
  )
}

/** But for what the SDK adds of its own. */
function expectSameRequest(): void {
  const [{ body, path }, theirs] = stage.providers.google.received as [Received, Received]
  const { safetySettings: _none, ...sent } = theirs.body
  if (sent.systemInstruction !== undefined) delete sent.systemInstruction.role
  expect(sent).toEqual(body)
  expect(theirs.path).toBe(path)
}

/** This SDK is older than thoughts, which it takes for text, and than a finish for tool calls. */
function asGeminiReads(reading: Reading): Reading {
  const finish = reading.finish === 'tool_calls' ? 'stop' : reading.finish
  return { ...reading, text: reading.thinking + reading.text, thinking: '', finish }
}

function readingOfGemini(response: EnhancedGenerateContentResponse): Reading {
  const usage = response.usageMetadata!
  // Calls have ids since the SDK's last version.
  const calls = (response.functionCalls() ?? []) as { id: string; name: string; args: object }[]
  return {
    text: response.text(),
    thinking: '',
    calls: calls.map(({ id, name, args }) => ({
      id,
      name,
      input: args as Reading['calls'][0]['input'],
    })),
    finish: FINISHES[response.candidates![0]!.finishReason!]!,
    prompt: usage.promptTokenCount,
    cached: usage.cachedContentTokenCount ?? 0,
    // It counts thoughts apart, and has no name for them.
    output: usage.totalTokenCount - usage.promptTokenCount,
  }
}
