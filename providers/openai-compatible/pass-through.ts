import { GatewayError } from '#errors'
import type {
  BodyEdits,
  Change,
  ChatRequest,
  Inspected,
  PassThrough,
  RawFrame,
  StreamWatcher,
  Usage,
} from '#protocol'
import { type Declaration, endpointUrl } from './declaration.ts'
import { streamFailure } from './errors.ts'
import { DONE } from './events.ts'
import { type FrameScan, scanFrame } from './frame-scan.ts'
import { finishReason } from './message.ts'
import { gaps, headers, maxTokensField, streaming } from './request.ts'
import { readUsage, type UsageFacts } from './usage.ts'
import { type Fields, count, fields, isFields, list, parsed, text } from './wire.ts'

/** The caller's bytes go to the provider as they are, but for what it declares otherwise. */
export function passThrough(facts: Declaration): PassThrough {
  return {
    edits(request) {
      const changes = [...gaps(facts, request)]
      const edits: Record<string, string | undefined> = {}
      for (const { field } of changes) if (!field.includes('.')) edits[field] = undefined
      if (request.temperature !== undefined && request.temperature > (facts.maxTemperature ?? 2)) {
        const most = facts.maxTemperature ?? 2
        edits['temperature'] = String(most)
        const note = `clamped from ${request.temperature} to ${most}`
        changes.push({ field: 'temperature', kind: 'adapted', note })
      }
      changes.push(...innerGaps(facts, request))
      const choice = request.toolChoice?.type
      if (facts.lacksToolChoice?.some((lacked) => lacked === choice) === true) {
        changes.push({ field: 'tool_choice', kind: 'lossy', note: `ignored by ${facts.name}` })
      }
      // The two names mean the same, so that taking the one it knows changes nothing.
      if (facts.maxTokensField === 'max_tokens' && request.maxOutputTokens !== undefined) {
        edits['max_tokens'] = String(request.maxOutputTokens)
        edits['max_completion_tokens'] = undefined
      }
      if (request.stream) {
        const options = streaming(facts, request)['stream_options']
        edits['stream_options'] = options === undefined ? undefined : JSON.stringify(options)
      }
      return { edits: edits satisfies BodyEdits, changes }
    },
    maxTokensField: () => maxTokensField(facts),
    url: (target) => endpointUrl(target.baseUrl, 'chat/completions'),
    headers: (target) => headers(facts, target),
    watcher: () => chatWatcher(facts.usage),
    inspect: (body) => inspect(body, facts.usage),
  }
}

/** Gaps below the top of the body: what is said there goes by, and is ignored. */
function innerGaps({ ignores, name }: Declaration, request: ChatRequest): readonly Change[] {
  const fields: string[] = []
  if (ignores?.includes('tools.strict') === true) {
    for (const [index, tool] of (request.tools ?? []).entries()) {
      if (tool.type !== 'custom' && tool.strict === true) fields.push(`tools[${index}].strict`)
    }
  }
  if (ignores?.includes('messages.name') === true) {
    for (const [index, message] of request.messages.entries()) {
      if ('name' in message && message.name !== undefined) fields.push(`messages[${index}].name`)
    }
  }
  return fields.map((field) => ({ field, kind: 'lossy', note: `ignored by ${name}` }))
}

export function inspect(body: unknown, facts: UsageFacts = {}): Inspected {
  const answer = fields(body)
  const usage = readUsage(answer['usage'], facts)
  const model = text(answer['model'])
  const serviceTier = text(answer['service_tier'])
  const choices = list(answer['choices']).filter(isFields)
  const [choice] = choices
  const outputText = choices.map(textOf).join('')
  return {
    ...(usage === undefined ? {} : { usage }),
    ...(model === '' ? {} : { model }),
    ...(choice === undefined ? {} : { finishReason: finishOf(choice) }),
    ...(serviceTier === '' ? {} : { serviceTier }),
    ...(outputText === '' ? {} : { outputText }),
  }
}

/** What a model wrote for one choice, in any of the members that engines have for it. */
function textOf(choice: Fields): string {
  const message = fields(choice['message'])
  const calls = [...list(message['tool_calls']), { function: message['function_call'] }]
  return [
    ...['content', 'refusal', 'reasoning_content', 'reasoning'].map((name) => text(message[name])),
    ...calls.filter(isFields).map((call) => text(fields(call['function'])['arguments'])),
  ].join('')
}

function finishOf(choice: Fields): string {
  const message = fields(choice['message'])
  const calls =
    list(message['tool_calls']).length > 0 || text(fields(message['function_call'])['name']) !== ''
  return finishReason(text(choice['finish_reason']), calls)
}

/**
 * Watches a stream of chunks. Only frames with usage, a finish reason, an error or a further
 * choice are parsed, and the first, for its model.
 */
export function chatWatcher(facts: UsageFacts = {}): StreamWatcher {
  const scan: FrameScan = {
    empty: true,
    error: false,
    usage: false,
    finish: false,
    laterChoice: false,
    answered: false,
    reasoned: false,
    partsLength: 0,
    outputLength: 0,
    broken: false,
    usageStart: -1,
    usageEnd: -1,
  }
  /** By index, whether the choice has its finish reason. */
  const choices = new Map<number, boolean>()
  /** The last frame has usage beside a choice. */
  let usageOfChoice = false
  let answered = false
  let outputLength = 0
  let usage: Usage | undefined
  let model = ''
  let serviceTier = ''
  let reason: string | undefined

  function watch(frame: RawFrame): 'pass' | 'usage' | 'done' {
    scanFrame(frame.bytes, scan)
    usageOfChoice = false
    if (scan.empty) return watchOther(frame)
    if (scan.broken) throw brokenFrame()
    outputLength += scan.outputLength
    if (scan.answered && !answered) answered = true
    const plain = !scan.usage && !scan.finish && !scan.error && !scan.laterChoice
    if (plain && choices.size > 0) return 'pass'
    return look(frame)
  }

  function look(frame: RawFrame): 'pass' | 'usage' {
    const body = parsed(frame.data())
    if (!isFields(body)) throw brokenFrame()
    if (frame.event === 'error' || body['error']) throw streamFailure(body)
    model ||= text(body['model'])
    serviceTier = text(body['service_tier']) || serviceTier
    const found = readUsage(body['usage'] ?? fields(body['x_groq'])['usage'], facts)
    usage = found ?? usage
    const inside = list(body['choices']).filter(isFields)
    for (const choice of inside) lookAtChoice(choice)
    if (!isFields(body['usage'])) return 'pass'
    usageOfChoice = inside.length > 0
    return usageOfChoice || saysMore(body) ? 'pass' : 'usage'
  }

  function lookAtChoice(choice: Fields): void {
    if (isFields(choice['error'])) throw streamFailure(choice)
    const index = count(choice['index']) ?? 0
    const raw = text(choice['finish_reason'])
    if (raw === '') {
      if (!choices.has(index)) choices.set(index, false)
      return
    }
    choices.set(index, true)
    answered = true
    reason ??= finishReason(raw, false)
  }

  return {
    watch,
    get unaskedUsage() {
      return scan.empty || scan.usageStart < 0 || usageOfChoice
        ? undefined
        : { start: scan.usageStart, end: scan.usageEnd }
    },
    get answered() {
      return answered
    },
    get finished() {
      if (choices.size === 0) return false
      for (const finished of choices.values()) if (!finished) return false
      return true
    },
    get seen() {
      return {
        ...(usage === undefined ? {} : { usage }),
        ...(model === '' ? {} : { model }),
        ...(reason === undefined ? {} : { finishReason: reason }),
        ...(serviceTier === '' ? {} : { serviceTier }),
      }
    },
    get outputLength() {
      return outputLength
    },
  }
}

/** What every chunk of an answer has, or says of its usage only. */
const ENVELOPE: ReadonlySet<string> = new Set(
  (
    'id object created model choices usage x_groq ' +
    'system_fingerprint service_tier provider obfuscation'
  ).split(' '),
)

/** Such as llama.cpp's `timings` beside the usage of the last frame. */
function saysMore(body: Fields): boolean {
  for (const name in body) if (!ENVELOPE.has(name) && body[name] !== null) return true
  return false
}

function brokenFrame(): GatewayError {
  return new GatewayError('upstream_invalid', 'The provider sent a frame that is not JSON')
}

/** Comments, the end marker, and errors that are no JSON. */
function watchOther(frame: RawFrame): 'pass' | 'done' {
  const data = frame.data().trim()
  if (data === DONE) return 'done'
  if (data !== '' && frame.event === 'error') throw streamFailure(data)
  return 'pass'
}
