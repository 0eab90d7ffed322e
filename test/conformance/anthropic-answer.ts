import { count, fields, isFields, list, objects, parsed, text } from './json.ts'
import type { Fields } from './json.ts'
import type { Reported } from './outcome.ts'
import { NOTHING_SAID } from './reading.ts'
import type { Reading } from './reading.ts'
import type { RecordedFrame, RecordedResponse } from './recordings.ts'

/**
 * A second reading of Anthropic's answers, from its own pages and none of our code.
 *
 * @see https://platform.claude.com/docs/en/api/messages
 */
export function readMessage(message: Fields): { reading: Reading; reported?: Reported } {
  const blocks = objects(message['content'])
  const texts = blocks.filter(({ type }) => type === 'text')
  const calls = blocks.filter(isOwnCall)
  const citing = texts.filter(({ citations }) => list(citations).length > 0)
  const citations = citing.flatMap(({ citations, text: words }) =>
    objects(citations).map((citation) => ({ citation, words: text(words) })),
  )
  const reported = readUsage(message['usage'])
  // OpenAI's shape keeps addresses and documents apart.
  const byUrl = citations.filter(({ citation }) => addressOf(citation) !== '')
  const byDocument = citations.filter(({ citation }) => addressOf(citation) === '')
  return {
    reading: {
      model: text(message['model']),
      choices: [
        {
          ...NOTHING_SAID,
          text: texts.map((block) => text(block['text'])).join(''),
          reasoning: blocks
            .filter(({ type }) => type === 'thinking')
            .map((block) => text(block['thinking']))
            .join(''),
          calls: calls.map((block) => ({
            id: text(block['id']),
            name: text(block['name']),
            args: block['input'],
          })),
          finish: finishOf(message['stop_reason'], calls.length > 0),
          urls: [...new Set(byUrl.map(({ citation }) => addressOf(citation)))],
          documents: byDocument.length,
          spans: [...byUrl, ...byDocument].map(({ words }) => words),
          seals: blocks.flatMap((block) =>
            block['type'] === 'thinking'
              ? [text(block['signature'])].filter((seal) => seal !== '')
              : block['type'] === 'redacted_thinking'
                ? [text(block['data'])]
                : [],
          ),
        },
      ],
    },
    ...(reported === undefined ? {} : { reported }),
  }
}

function addressOf(citation: Fields): string {
  return text(citation['url']) || text(citation['source'])
}

/** Calls that code in the provider's container makes are not the caller's. */
function isOwnCall(block: Fields): boolean {
  const caller = fields(block['caller'])['type'] ?? 'direct'
  return block['type'] === 'tool_use' && caller === 'direct'
}

function finishOf(reason: unknown, calls: boolean): string {
  if (reason === 'tool_use') return calls ? 'tool_calls' : 'stop'
  if (reason === 'refusal') return 'content_filter'
  return reason === 'max_tokens' || reason === 'model_context_window_exceeded' ? 'length' : 'stop'
}

/** `input_tokens` leaves out the cache; passes of compaction and advice are billed beside. */
function readUsage(usage: unknown): Reported | undefined {
  if (!isFields(usage) || typeof usage['output_tokens'] !== 'number') return undefined
  const passes = [
    usage,
    ...objects(usage['iterations']).filter(
      ({ type }) => type === 'compaction' || type === 'advisor_message',
    ),
  ]
  const sum = (...names: string[]): number =>
    passes.flatMap((pass) => names.map((name) => count(pass[name]))).reduce((a, b) => a + b, 0)
  const cached = sum('cache_read_input_tokens')
  const prompt = sum('input_tokens', 'cache_creation_input_tokens') + cached
  const completion = sum('output_tokens')
  const thought = fields(usage['output_tokens_details'])['thinking_tokens']
  return {
    prompt,
    completion,
    total: prompt + completion,
    cached,
    ...(typeof thought === 'number' && passes.length === 1 && { reasoning: thought }),
  }
}

/** The message that a stream of events makes; undefined where it breaks off. */
export function joinEvents({ frames = [] }: RecordedResponse): Fields | undefined {
  let message: Record<string, unknown> = {}
  let usage: Fields = {}
  let ended = false
  const blocks: Record<string, unknown>[] = []
  let open: (Record<string, unknown> | undefined)[] = []
  for (const frame of frames) {
    const event = fields(parsed(frame.data))
    const index = count(event['index'])
    const delta = fields(event['delta'])
    switch (event['type']) {
      case 'message_start':
        // Spliced in by a proxy that asked again: the answer goes on.
        message = { ...fields(event['message']), ...message }
        usage = { ...usage, ...said(fields(fields(event['message'])['usage'])) }
        open = []
        break
      case 'content_block_start': {
        const block = { ...fields(event['content_block']) }
        open[index] = block
        blocks.push(block)
        break
      }
      case 'content_block_delta':
        if (open[index] !== undefined) addDelta(open[index], delta)
        break
      case 'message_delta':
        message = { ...message, ...said(delta) }
        usage = { ...usage, ...said(fields(event['usage'])) }
        break
      case 'message_stop':
        ended = true
        break
      case 'error':
        return undefined
    }
  }
  return ended ? { ...message, content: blocks.map(closed), usage } : undefined
}

function said(from: Fields): Fields {
  return Object.fromEntries(
    Object.entries(from).filter(([, value]) => value !== null && value !== undefined),
  )
}

function addDelta(block: Record<string, unknown>, delta: Fields): void {
  const add = (name: string, piece: unknown): void => {
    block[name] = text(block[name]) + text(piece)
  }
  switch (delta['type']) {
    case 'text_delta':
      add('text', delta['text'])
      break
    case 'thinking_delta':
      add('thinking', delta['thinking'])
      break
    case 'signature_delta':
      add('signature', delta['signature'])
      break
    case 'input_json_delta':
      add('json', delta['partial_json'])
      break
    case 'citations_delta':
      block['citations'] = [...list(block['citations']), delta['citation']]
      break
  }
}

function closed({ json, ...block }: Record<string, unknown>): Fields {
  return typeof json === 'string' && json !== '' ? { ...block, input: parsed(json) } : block
}

/** Where the end of a stream begins. */
export function isEnd({ event, data }: RecordedFrame): boolean {
  return event === 'message_delta' || fields(parsed(data))['type'] === 'message_delta'
}

export function isErrorEvent({ event, data }: RecordedFrame): boolean {
  return event === 'error' || fields(parsed(data))['type'] === 'error'
}
