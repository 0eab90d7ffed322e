import { randomUUID } from 'node:crypto'
import { GatewayError } from '#errors'
import type {
  AssistantPart,
  ChatRequest,
  ChatResponse,
  Choice,
  ReasoningPart,
  ToolCallPart,
} from '#protocol'
import { streamFailure } from './errors.ts'
import {
  finishReason,
  readAnnotations,
  readCall,
  readContent,
  readImages,
  readLogprobs,
  readReasoning,
  readSources,
} from './message.ts'
import { type ToolNames, toolNames } from './names.ts'
import type { Detail } from './reasoning-details.ts'
import { readUsage, type UsageFacts } from './usage.ts'
import { type Fields, count, fields, isFields, list, text } from './wire.ts'

/** @throws GatewayError `upstream_invalid` for a body that is no answer, `upstream_error` for an error */
export function decode(body: unknown, request: ChatRequest, facts: UsageFacts = {}): ChatResponse {
  const answer = fields(body)
  const choices = list(answer['choices']).filter(isFields)
  if (choices.length === 0) {
    if (answer['error']) throw streamFailure(answer)
    throw new GatewayError('upstream_invalid', 'The provider answered without a choice')
  }
  const names = toolNames(request)
  const created = count(answer['created'])
  const usage = readUsage(answer['usage'], facts)
  const serviceTier = text(answer['service_tier'])
  return {
    id: text(answer['id']),
    model: text(answer['model']),
    ...(created === undefined || created === 0 ? {} : { created }),
    choices: choices.map((choice, index) => decodeChoice(choice, index, answer, names)),
    ...(usage === undefined ? {} : { usage }),
    ...(serviceTier === '' ? {} : { serviceTier }),
  }
}

function decodeChoice(choice: Fields, place: number, answer: Fields, names: ToolNames): Choice {
  if (isFields(choice['error'])) throw streamFailure(choice)
  const message = fields(choice['message'])
  const details = readReasoning(message)
  const seals = new Map(
    details.filter(({ callId }) => callId !== '').map((each) => [each.callId, each.signature]),
  )
  const calls = decodeCalls(message, names, seals)
  const sealed = new Set(calls.map(({ id }) => id))
  const raw = text(choice['finish_reason'])
  const logprobs = readLogprobs(choice['logprobs'])
  const content: AssistantPart[] = [
    ...decodeReasoning(details, sealed),
    ...decodeText(message, place === 0 ? answer : {}),
    ...calls,
    ...decodeMedia(message),
  ]
  return {
    index: count(choice['index']) ?? place,
    content,
    finishReason: finishReason(raw, calls.length > 0),
    ...(raw === '' ? {} : { rawFinishReason: raw }),
    ...(logprobs === undefined ? {} : { logprobs }),
  }
}

function decodeReasoning(details: readonly Detail[], sealed: ReadonlySet<string>): ReasoningPart[] {
  const parts = new Map<string, { text: string; signature: string; redacted: string }>()
  for (const [index, detail] of details.entries()) {
    if (sealed.has(detail.callId)) continue
    const block = detail.redacted === '' ? detail.block : `${detail.block}:${index}`
    const part = parts.get(block) ?? { text: '', signature: '', redacted: '' }
    part.text += detail.text
    part.signature = detail.signature || part.signature
    part.redacted = detail.redacted
    parts.set(block, part)
  }
  return [...parts.values()].map((part) => ({
    type: 'reasoning',
    text: part.text,
    ...(part.signature === '' ? {} : { signature: part.signature }),
    ...(part.redacted === '' ? {} : { redacted: part.redacted }),
  }))
}

function decodeText(message: Fields, answer: Fields): AssistantPart[] {
  const said = readContent(message['content']).text || text(fields(message['audio'])['transcript'])
  const refusal = text(message['refusal'])
  const cited = readAnnotations(message['annotations'])
  const citations = cited.length > 0 ? cited : readSources(answer)
  return [
    ...(said === ''
      ? []
      : [{ type: 'text' as const, text: said, ...(citations.length > 0 ? { citations } : {}) }]),
    ...(refusal === '' ? [] : [{ type: 'refusal' as const, text: refusal }]),
  ]
}

function decodeCalls(
  message: Fields,
  names: ToolNames,
  seals: ReadonlyMap<string, string>,
): ToolCallPart[] {
  const calls = list(message['tool_calls']).filter(isFields)
  const legacy = fields(message['function_call'])
  // Snowflake sends an empty `function_call` with every answer.
  if (calls.length === 0 && text(legacy['name']) !== '') calls.push({ function: legacy })
  return calls.map((each) => {
    const call = readCall(each)
    return {
      type: 'tool-call',
      id: call.id || newCallId(),
      name: names.fromWire(call.name),
      arguments: call.arguments || (call.custom ? '' : '{}'),
      ...(call.custom ? { custom: true } : {}),
      ...(seals.has(call.id) ? { signature: seals.get(call.id)! } : {}),
    }
  })
}

function decodeMedia(message: Fields): AssistantPart[] {
  const audio = text(fields(message['audio'])['data'])
  const images = [...readImages(message['images']), ...readContent(message['content']).images]
  return [
    ...images.map((source) => ({ type: 'media' as const, source })),
    ...(audio === ''
      ? []
      : [
          {
            type: 'media' as const,
            source: { type: 'base64' as const, data: audio, mediaType: 'audio/*' },
          },
        ]),
  ]
}

/** For a call that came without an id: clients answer a call by its id. */
export function newCallId(): string {
  return `call_${randomUUID().replaceAll('-', '').slice(0, 24)}`
}
