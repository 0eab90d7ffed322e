import type {
  AssistantPart,
  ChatRequest,
  ChatResponse,
  Choice,
  ReasoningPart,
  ToolCallPart,
} from '#protocol'
import {
  FINISH_REASONS,
  audioOf,
  isSealed,
  writeCitations,
  writeImage,
  writeReasoningDetails,
  writeSignature,
  writeUsage,
} from './chat-wire.ts'
import type { AnswerContext } from './chat-wire.ts'

/**
 * Writes a whole answer of `POST /v1/chat/completions` as OpenAI does.
 *
 * Beside OpenAI's members: `reasoning_content` and, where something sealed is to come back,
 * `reasoning_details`; `extra_content` for Google's signatures; `images` for pictures;
 * `document_citations`; `native_finish_reason`; `usage.cost`.
 */
export function writeChat(
  response: ChatResponse,
  request: Pick<ChatRequest, 'legacyFunctions'>,
  context: AnswerContext,
): string {
  const legacy = request.legacyFunctions === true
  const { usage, serviceTier } = response
  return JSON.stringify({
    id: context.id,
    object: 'chat.completion',
    created: response.created ?? context.created,
    model: response.model === '' ? context.model : response.model,
    choices: response.choices.map((choice) => writeChoice(choice, legacy, context)),
    ...(usage === undefined ? {} : { usage: writeUsage(usage, context.cost) }),
    ...(serviceTier === undefined ? {} : { service_tier: serviceTier }),
  })
}

function writeChoice(choice: Choice, legacy: boolean, context: AnswerContext): object {
  const { index, finishReason, rawFinishReason, logprobs } = choice
  const legacyCall = legacy && finishReason === 'tool-calls'
  return {
    index,
    message: writeMessage(choice.content, legacy, context),
    logprobs: logprobs ?? null,
    finish_reason: legacyCall ? 'function_call' : FINISH_REASONS[finishReason],
    ...(rawFinishReason === undefined ? {} : { native_finish_reason: rawFinishReason }),
  }
}

function writeMessage(
  parts: readonly AssistantPart[],
  legacy: boolean,
  context: AnswerContext,
): object {
  const said = gather(parts)
  const calls = legacy ? said.calls.slice(1) : said.calls
  const call = legacy ? said.calls[0] : undefined
  const nothingSaid = said.text === '' && (said.calls.length > 0 || said.refusal !== '')
  return {
    role: 'assistant',
    content: nothingSaid ? null : said.text,
    ...(calls.length === 0 ? {} : { tool_calls: calls.map(writeCall) }),
    ...(call === undefined ? {} : { function_call: writeFunction(call) }),
    refusal: said.refusal === '' ? null : said.refusal,
    annotations: said.annotations,
    ...writeReasoning(said.reasoning),
    ...(said.documents.length === 0 ? {} : { document_citations: said.documents }),
    ...(said.signature === undefined ? {} : { extra_content: writeSignature(said.signature) }),
    ...(said.images.length === 0 ? {} : { images: said.images }),
    ...(said.audio.length === 0 ? {} : { audio: writeAudio(said.audio, context) }),
  }
}

interface Said {
  text: string
  refusal: string
  signature?: string
  readonly reasoning: ReasoningPart[]
  readonly calls: ToolCallPart[]
  readonly annotations: object[]
  readonly documents: object[]
  readonly images: object[]
  readonly audio: string[]
}

/** Sorts the parts, which OpenAI's message does not keep in order, into its members. */
function gather(parts: readonly AssistantPart[]): Said {
  const said: Said = {
    text: '',
    refusal: '',
    reasoning: [],
    calls: [],
    annotations: [],
    documents: [],
    images: [],
    audio: [],
  }
  for (const part of parts) {
    switch (part.type) {
      case 'text': {
        const { length } = said.text
        const cited = writeCitations(part.citations ?? [], length, part.text.length)
        said.annotations.push(...cited.annotations)
        said.documents.push(...cited.documents)
        said.text += part.text
        if (part.signature !== undefined) said.signature = part.signature
        break
      }
      case 'refusal':
        said.refusal += part.text
        break
      case 'reasoning':
        said.reasoning.push(part)
        break
      case 'tool-call':
        said.calls.push(part)
        break
      case 'media': {
        const audio = audioOf(part.source)
        if (audio === undefined) said.images.push(writeImage(part.source, said.images.length))
        else said.audio.push(audio)
      }
    }
  }
  return said
}

function writeCall(call: ToolCallPart): object {
  const extra =
    call.signature === undefined ? {} : { extra_content: writeSignature(call.signature) }
  return call.custom === true
    ? {
        id: call.id,
        type: 'custom',
        custom: { name: call.name, input: call.arguments },
        ...extra,
      }
    : { id: call.id, type: 'function', function: writeFunction(call), ...extra }
}

/** A call without arguments is `{}` at OpenAI; every client parses it as JSON. */
function writeFunction({ name, arguments: text }: ToolCallPart): object {
  return { name, arguments: text === '' ? '{}' : text }
}

function writeReasoning(parts: readonly ReasoningPart[]): object {
  const text = parts.map((part) => part.text).join('')
  return {
    ...(text === '' ? {} : { reasoning_content: text }),
    ...(parts.some(isSealed) ? { reasoning_details: parts.flatMap(writeReasoningDetails) } : {}),
  }
}

/** Several sounds become one, as a message has one place for them. */
function writeAudio(pieces: readonly string[], { id, created }: AnswerContext): object {
  const [first = ''] = pieces
  const data =
    pieces.length === 1
      ? first
      : Buffer.concat(pieces.map((piece) => Buffer.from(piece, 'base64'))).toString('base64')
  return { id: `audio-${id}`, data, expires_at: created, transcript: '' }
}
