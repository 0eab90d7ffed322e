import { GatewayError } from '#errors'
import type { Asked, ChatEvent, Usage, WholeAnswer } from '#protocol'
import type { Body } from './body.ts'
import { writeChat } from './chat-answer.ts'
import { readChat } from './chat-request.ts'
import { END_MARKER, chatWriter } from './chat-stream.ts'
import { readEmbeddings, writeEmbeddings } from './embeddings.ts'
import { writeStreamError } from './errors.ts'

export { writeError } from './errors.ts'

/** An API we serve: how to read its requests and write its answers, in its own wire. */
export interface Endpoint {
  /** @throws GatewayError `invalid_value` that names the field */
  readonly read: (body: Body) => Asked
  writeWhole(
    content: WholeAnswer['content'],
    asked: Asked,
    context: ServedContext,
  ): string | Uint8Array
  /** One for each stream. It does not write the end marker, unless an `end` event says so. */
  events(asked: Asked, context: ServedContext): (events: readonly ChatEvent[]) => string
  readonly endMarker: string
  writeStreamError(error: GatewayError, requestId: string): string
}

interface ServedContext {
  readonly requestId: string
  /** Unix seconds. */
  readonly created: number
  /** As the caller wrote it. */
  readonly model: string
  /** US dollars, as a decimal. */
  readonly cost?: string
  /** As the ledger has it, where the provider told none. Whole answers only. */
  readonly usage?: Usage
}

/** `POST /v1/chat/completions` */
export const chatCompletions: Endpoint = {
  read: ({ value }) => ({ operation: 'chat', request: readChat(value) }),
  writeWhole(content, asked, context) {
    if (content.type === 'bytes') return content.bytes
    if (content.type !== 'chat' || asked.operation !== 'chat') throw mixedUp()
    return writeChat(content.response, asked.request, withId(context))
  },
  events(asked, context) {
    if (asked.operation !== 'chat') throw mixedUp()
    const writer = chatWriter(asked.request, withId(context))
    return (events) => writer.write(events)
  },
  endMarker: END_MARKER,
  writeStreamError,
}

/** `POST /v1/embeddings` */
export const embeddings: Endpoint = {
  read: ({ value }) => ({ operation: 'embeddings', request: readEmbeddings(value) }),
  writeWhole(content, asked, context) {
    if (content.type === 'bytes') return content.bytes
    if (content.type !== 'embeddings' || asked.operation !== 'embeddings') throw mixedUp()
    return writeEmbeddings(content.response, asked.request, context)
  },
  events() {
    throw mixedUp()
  },
  endMarker: '',
  writeStreamError,
}

function withId(context: ServedContext): ServedContext & { readonly id: string } {
  return { ...context, id: `chatcmpl-${context.requestId.replace(/^req_/, '')}` }
}

function mixedUp(): GatewayError {
  return new GatewayError(
    'internal_error',
    'An answer of one operation met the endpoint of another',
  )
}
