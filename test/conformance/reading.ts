import { count, fields, isFields, list, objects, parsed, short, text } from './json.ts'
import type { Fields } from './json.ts'

/** What an answer says, in words that every wire has. */
export interface Reading {
  readonly choices: readonly Said[]
  /** As the provider names it; empty where it did not say. */
  readonly model: string
}

export interface Said {
  readonly text: string
  readonly reasoning: string
  readonly refusal: string
  readonly calls: readonly Call[]
  /** In OpenAI's words. */
  readonly finish: string
  /** Addresses cited, each once. */
  readonly urls: readonly string[]
  /** Citations of documents of the request. */
  readonly documents: number
  /** What a citation covers of the text, in the order of the citations; where the provider said so. */
  readonly spans: readonly string[]
  /** Base64 of pictures and sounds. */
  readonly media: readonly string[]
  /** Signatures and sealed reasoning, which the caller has to return. */
  readonly seals: readonly string[]
}

export interface Call {
  /** Empty where the provider gave none, so that any will do. */
  readonly id: string
  readonly name: string
  /** Parsed; the text itself where it is broken off. */
  readonly args: unknown
}

export const NOTHING_SAID: Said = {
  text: '',
  reasoning: '',
  refusal: '',
  calls: [],
  finish: 'stop',
  urls: [],
  documents: 0,
  spans: [],
  media: [],
  seals: [],
}

/** Reads a whole answer in OpenAI's shape, with the members beside OpenAI's that Tollgate documents. */
export function readAnswer(body: unknown): Reading {
  const answer = fields(body)
  return { choices: objects(answer['choices']).map(readChoice), model: text(answer['model']) }
}

function readChoice(choice: Fields): Said {
  const message = fields(choice['message'])
  const content = text(message['content'])
  const annotations = objects(message['annotations']).map((each) => fields(each['url_citation']))
  const documents = objects(message['document_citations'])
  const calls = objects(message['tool_calls'])
  return {
    text: content,
    reasoning: text(message['reasoning_content']),
    refusal: text(message['refusal']),
    calls: calls.map(readCall),
    finish: text(choice['finish_reason']),
    urls: [...new Set(annotations.map(({ url }) => text(url)))],
    documents: documents.length,
    spans: [...annotations, ...documents].map((cited) =>
      content.slice(count(cited['start_index']), count(cited['end_index'])),
    ),
    media: [
      ...objects(message['images']).map((image) =>
        text(fields(image['image_url'])['url']).replace(/^data:[^,]*,/, ''),
      ),
      ...(isFields(message['audio']) ? [text(message['audio']['data'])] : []),
    ],
    seals: [...objects(message['reasoning_details']), ...calls, message].flatMap(sealOf),
  }
}

function readCall(call: Fields): Call {
  const called = fields(call['function'])
  return {
    id: text(call['id']),
    name: text(called['name']),
    args: parsed(text(called['arguments'])),
  }
}

/** A provider's name before the signature is ours, and says whose it is. */
function sealOf(holder: Fields): string[] {
  const google = fields(fields(holder['extra_content'])['google'])
  return [holder['signature'], holder['data'], google['thought_signature']]
    .map(text)
    .filter((seal) => seal !== '')
    .map((seal) => seal.replace(/^(google:|mistral\.)/, ''))
}

/** A streamed answer, put together, with what is against the rules of such streams. */
export interface Assembled {
  /** As if it had come whole. */
  readonly answer: Fields
  readonly chunks: readonly unknown[]
  readonly violations: readonly string[]
}

/** Puts the chunks of a stream together as a client does, and holds them to OpenAI's order. */
export function assemble(body: Buffer): Assembled {
  const violations: string[] = []
  const events = body
    .toString('utf8')
    .split('\n\n')
    .filter((event) => event !== '' && !event.startsWith(':'))
  const data = events.map((event) => /^data: (.*)$/s.exec(event)?.[1] ?? '')
  if (data.at(-1) !== '[DONE]') violations.push(`the last event is ${short(data.at(-1))}`)
  if (data.indexOf('[DONE]') !== data.lastIndexOf('[DONE]')) violations.push('[DONE] twice')
  const chunks = data.filter((each) => each !== '[DONE]').map(parsed)
  const draft = newDraft(violations)
  for (const [index, chunk] of chunks.entries()) {
    draft.add(fields(chunk), index === chunks.length - 1)
  }
  return { answer: draft.answer(), chunks, violations }
}

interface ChoiceDraft {
  readonly message: Record<string, unknown>
  readonly calls: Map<number, { id: string; name: string; args: string; extra?: unknown }>
  finish: string | undefined
}

function newDraft(violations: string[]) {
  const choices = new Map<number, ChoiceDraft>()
  let head: Fields = {}
  let usage: unknown

  function add(chunk: Fields, isLast: boolean): void {
    if (head['id'] === undefined) head = chunk
    else if (chunk['id'] !== head['id']) violations.push('a chunk has another id')
    if (chunk['object'] !== 'chat.completion.chunk') violations.push(`object ${short(chunk)}`)
    const said = objects(chunk['choices'])
    if (isFields(chunk['usage'])) {
      usage = chunk['usage']
      if (!isLast) violations.push('usage is not in the last chunk')
      if (said.length > 0) violations.push('usage is not alone')
    } else if (said.length === 0) violations.push('a chunk without choices and usage')
    for (const choice of said) addChoice(choice)
  }

  function addChoice(choice: Fields): void {
    const index = count(choice['index'])
    const delta = fields(choice['delta'])
    let draft = choices.get(index)
    if (draft === undefined) {
      draft = { message: {}, calls: new Map(), finish: undefined }
      choices.set(index, draft)
      if (delta['role'] !== 'assistant') violations.push('the first chunk has no role')
    } else if ('role' in delta) violations.push('the role comes twice')
    if (draft.finish !== undefined) violations.push('something follows the finish')
    for (const [name, value] of Object.entries(delta)) addMember(draft, name, value)
    if (typeof choice['finish_reason'] === 'string') {
      draft.finish = choice['finish_reason']
      if (Object.keys(delta).length > 0) violations.push('the finish is not alone')
    }
  }

  function addMember({ message, calls }: ChoiceDraft, name: string, value: unknown): void {
    if (name === 'tool_calls') for (const call of objects(value)) addCall(calls, call)
    else if (Array.isArray(value)) message[name] = [...list(message[name]), ...list(value)]
    else if (name === 'role' || typeof value !== 'string') message[name] ??= value
    else message[name] = text(message[name]) + value
  }

  function addCall(calls: ChoiceDraft['calls'], call: Fields): void {
    const index = count(call['index'])
    const called = fields(call['function'])
    const open = calls.get(index)
    if (open === undefined) {
      if (index !== calls.size) violations.push(`tool call ${index} after ${calls.size}`)
      if (text(call['id']) === '' || call['type'] !== 'function') {
        violations.push('a tool call begins without id or type')
      }
      calls.set(index, {
        id: text(call['id']),
        name: text(called['name']),
        args: text(called['arguments']),
        extra: call['extra_content'],
      })
      return
    }
    if ('id' in call || 'name' in called) violations.push('a tool call has its head twice')
    open.args += text(called['arguments'])
    open.extra ??= call['extra_content']
  }

  function answer(): Fields {
    for (const [index, { finish }] of choices) {
      if (finish === undefined) violations.push(`choice ${index} has no finish`)
    }
    return {
      ...head,
      choices: [...choices].map(([index, { message, calls, finish }]) => ({
        index,
        message: {
          ...message,
          tool_calls: [...calls.values()].map(({ id, name, args, extra }) => ({
            id,
            type: 'function',
            function: { name, arguments: args },
            ...(extra === undefined ? {} : { extra_content: extra }),
          })),
        },
        finish_reason: finish,
      })),
      usage,
    }
  }

  return { add, answer }
}
