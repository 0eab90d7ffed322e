import OpenAI from 'openai'
import OpenAI6 from 'openai-6'
import { describe, expect, it } from 'vitest'
import type { RefusalName } from '../stand-ins/stand-in.ts'
import { text } from './scenarios.ts'
import { KINDS, MAJORS, MODELS, setStage } from './stage.ts'
import type { Kind } from './wires.ts'

const stage = setStage()

type ErrorClass = 'BadRequestError' | 'NotFoundError' | 'RateLimitError' | 'InternalServerError'

interface Told {
  readonly throws: ErrorClass
  readonly status: number
  readonly code: string
  readonly type: string
  readonly headers?: Readonly<Record<string, string>>
}

const FINAL = { 'x-should-retry': 'false' }

/** What the client is told of a provider's refusal, whoever the provider is. */
const TOLD: Readonly<Record<RefusalName, Told>> = {
  badRequest: {
    throws: 'BadRequestError',
    status: 400,
    code: 'invalid_value',
    type: 'invalid_request_error',
    headers: FINAL,
  },
  tooLong: {
    throws: 'BadRequestError',
    status: 400,
    code: 'context_length_exceeded',
    type: 'invalid_request_error',
    headers: FINAL,
  },
  unknownModel: {
    throws: 'NotFoundError',
    status: 404,
    code: 'model_not_found',
    type: 'invalid_request_error',
    headers: FINAL,
  },
  // The caller's own key is good: not its 401.
  badCredential: {
    throws: 'InternalServerError',
    status: 502,
    code: 'upstream_rejected',
    type: 'upstream_error',
    headers: FINAL,
  },
  noMoney: {
    throws: 'InternalServerError',
    status: 502,
    code: 'upstream_rejected',
    type: 'upstream_error',
    headers: FINAL,
  },
  rateLimited: {
    throws: 'RateLimitError',
    status: 429,
    code: 'upstream_rate_limited',
    type: 'rate_limit_error',
    headers: { 'retry-after': '7', 'retry-after-ms': '7000' },
  },
  overloaded: {
    throws: 'InternalServerError',
    status: 502,
    code: 'upstream_error',
    type: 'upstream_error',
    headers: { 'retry-after': '9', 'retry-after-ms': '9000' },
  },
  broken: {
    throws: 'InternalServerError',
    status: 502,
    code: 'upstream_error',
    type: 'upstream_error',
  },
}
const REFUSALS = Object.entries(TOLD) as [RefusalName, Told][]

const CLASSES = { 'openai 7': OpenAI, 'openai 6': OpenAI6 }

describe.each(MAJORS)('%s', (major) => {
  const ask = (kind: Kind, stream: boolean) =>
    stage.clients[major].chat.completions.create({
      ...text.asked,
      model: `${kind}/${MODELS[kind]}`,
      stream,
    })

  describe.each(KINDS)('is told of %s', (kind) => {
    for (const [refusal, told] of REFUSALS) {
      it.each([
        ['whole', false],
        ['streamed', true],
      ])(`${refusal}, %s`, async (_, stream) => {
        stage.providers[kind].plays({ refuses: refusal })
        const error = await ask(kind, stream).then(
          () => expect.unreachable(),
          (thrown: InstanceType<typeof OpenAI.APIError>) => thrown,
        )
        expect(error).toBeInstanceOf(CLASSES[major][told.throws])
        const { throws: _class, headers = {}, ...members } = told
        expect(error).toMatchObject(members)
        expect(error.requestID).toBe(stage.headers['x-request-id'])
        expect(error.error).toMatchObject({ request_id: error.requestID })
        expect(stage.headers).toMatchObject(headers)
        expect('x-should-retry' in stage.headers).toBe('x-should-retry' in headers)
        expect(error.message).not.toContain(stage.providers[kind].character.credential)
        expect(stage.providers[kind].received).toHaveLength(1)

        expect(await stage.gateway.entries(error.requestID!)).toMatchObject([
          { outcome: 'error', error_code: told.code, usage_source: 'none', stream },
        ])
      })
    }

    it.each(['cut', 'error'] as const)('a stream that breaks midway: %s', async (how) => {
      stage.providers[kind].plays({ says: text.says, breaks: { when: 'midway', how } })
      const stream = await stage.clients[major].chat.completions.create({
        ...text.asked,
        model: `${kind}/${MODELS[kind]}`,
        stream: true,
      })
      let heard = ''
      const reading = async (): Promise<void> => {
        for await (const { choices } of stream) heard += choices[0]?.delta.content ?? ''
      }
      const id = stage.headers['x-request-id']!
      await expect(reading()).rejects.toMatchObject({
        name: 'Error',
        code: 'upstream_error',
        error: { code: 'upstream_error', type: 'upstream_error', request_id: id },
      })
      expect(heard).toBe('The ')
      const [entry, ...others] = await stage.gateway.entries(id)
      expect(others).toEqual([])
      expect(entry).toMatchObject({ outcome: 'error', usage_source: 'estimated' })
      expect(entry!.usage['output']).toBeGreaterThan(0)
    })

    it('a stream that breaks, through the helper', async () => {
      const breaks = { when: 'midway', how: 'cut' } as const
      stage.providers[kind].plays({ says: text.says, breaks })
      const stream = stage.clients[major].chat.completions.stream({
        messages: text.asked.messages,
        model: `${kind}/${MODELS[kind]}`,
      })
      await expect(stream.finalChatCompletion()).rejects.toMatchObject({ code: 'upstream_error' })
    })
  })

  it('asks once for what will fail again, and again for what may not', async () => {
    const { openai: provider } = stage.providers
    const client = stage.clients[major].withOptions({ maxRetries: 2 })
    const body = { ...text.asked, model: 'openai/gpt-5-mini' }

    provider.plays({ refuses: 'badCredential' })
    await expect(client.chat.completions.create(body)).rejects.toThrow('credential')
    expect(provider.received).toHaveLength(1)

    provider.plays({ refuses: 'broken' }, { says: text.says })
    const answer = await client.chat.completions.create(body)
    expect(answer.choices[0]?.message.content).toBe(text.says.text)
    expect(provider.received).toHaveLength(3)
  })

  it('is told of its own mistakes as OpenAI tells them', async () => {
    const client = stage.clients[major]
    const model = 'openai/gpt-5-mini'
    const { messages } = text.asked
    const stranger = client.withOptions({ apiKey: 'sk-tg-live-0000000000000000000000-000000' })
    const { AuthenticationError, BadRequestError, NotFoundError } = CLASSES[major]

    const unknown = stranger.chat.completions.create({ messages, model })
    await expect(unknown).rejects.toBeInstanceOf(AuthenticationError)
    const wrong = client.chat.completions.create({ messages, model, temperature: 3 })
    await expect(wrong).rejects.toBeInstanceOf(BadRequestError)
    await expect(wrong).rejects.toMatchObject({ code: 'invalid_value', param: 'temperature' })
    const misspelt = client.chat.completions.create({ messages, model: 'opneai/gpt-5-mini' })
    await expect(misspelt).rejects.toBeInstanceOf(NotFoundError)
    await expect(misspelt).rejects.toMatchObject({ code: 'model_not_found', param: 'model' })
    expect(stage.providers.openai.received).toEqual([])
  })
})
