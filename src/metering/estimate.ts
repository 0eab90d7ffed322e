import type { Asked, ChatRequest, EmbeddingsRequest, Message, Source } from '#protocol'

/** How large a request is, for a bound on its prompt's tokens. */
export interface PromptSize {
  /** Text of all kinds, in quarters of a token; see {@link textQuarters}. */
  readonly quarters: number
  /** Tokens of what wraps messages and tools. */
  readonly fixed: number
  /** Tokens of files and sound. */
  readonly media: number
  /** Tokens in the request that its caller counted. */
  readonly exact: number
  readonly images: number
  readonly audio: boolean
  /** A cache marker asks for an hour. */
  readonly longCache: boolean
  /** The provider runs tools of its own, whose results no bound covers. */
  readonly open: boolean
}

/** What providers add around the parts of a conversation, as seen in their usage. Hidden instructions: some 170 tokens with Grok, 70 with gpt-oss, 10 with others. */
const PER_REQUEST = 256
const PER_MESSAGE = 8
const PER_TOOL = 24
/** Anthropic's own instructions for tools are up to 530 tokens, others' fewer. */
const TOOLS_AT_ALL = 600
const JSON_SCHEMA = 350
/** Web pages, files and answers of other models: 5,000 to 30,000 where seen, without end in principle. */
const PROVIDER_TOOLS = 32_000
const PROVIDER_TOOL =
  /web_?search|web_?fetch|googleSearch|url_?context|code_?execution|mcp_|advisor/i

/**
 * One image. Anthropic: 4,784 at most on models that see finely; OpenAI: 1,445 to 2,488, but
 * see `imageTokens` of the catalogue; Gemini: 258 for each of up to a dozen tiles.
 */
const PER_IMAGE = 5000
const LIKELY_IMAGE = 1000
const LIKELY_PER_MESSAGE = 4
/** A file known by a name or an address alone: some 30 pages. */
const PER_UNSEEN_FILE = 100_000
/** Deflated text and a picture of each page, two tokens for a byte; short files have pages too. */
const PER_FILE_BYTE = 2
const LEAST_PER_FILE = 8000
/** Gemini hears 32 tokens a second, the most; speech has 1,000 bytes a second, the least. */
const AUDIO_BYTES_PER_TOKEN = 25

/**
 * Measures a request in one pass, some microseconds for a kilobyte.
 *
 * Media never count as text. Fields that Tollgate has no word for count as the JSON they are.
 */
export function promptSize(request: ChatRequest): PromptSize {
  let quarters = 0
  let fixed = PER_REQUEST
  let media = 0
  let images = 0
  let audio = false
  let longCache = request.cache?.ttl === '1h'
  let open = false

  const text = (value: string): void => void (quarters += textQuarters(value))
  const json = (value: unknown): void => {
    if (value !== undefined) text(JSON.stringify(value))
  }
  const file = (source: Source): void => {
    media +=
      source.type === 'base64'
        ? Math.max(LEAST_PER_FILE, PER_FILE_BYTE * bytesOf(source.data))
        : PER_UNSEEN_FILE
  }
  const part = (one: Message['content'][number]): void => {
    if ('cache' in one && one.cache?.ttl === '1h') longCache = true
    switch (one.type) {
      case 'text':
      case 'refusal':
        return text(one.text)
      case 'reasoning':
        // What is sealed is counted too, and is no shorter than what it seals.
        text(one.text)
        if (one.signature !== undefined) quarters += one.signature.length * 2
        if (one.redacted !== undefined) quarters += one.redacted.length * 2
        return
      case 'tool-call':
        fixed += PER_TOOL
        text(one.name)
        text(one.id)
        return text(one.arguments)
      case 'image':
      case 'media':
        images++
        return
      case 'file':
        return file(one.source)
      case 'audio':
        audio = true
        media += Math.ceil(bytesOf(one.data) / AUDIO_BYTES_PER_TOKEN)
    }
  }

  for (const message of request.messages) {
    fixed += PER_MESSAGE
    if ('name' in message && message.name !== undefined) text(message.name)
    if (message.role === 'tool') text(message.callId)
    for (const one of message.content) part(one)
  }
  if (request.tools && request.tools.length > 0) {
    fixed += TOOLS_AT_ALL
    for (const tool of request.tools) {
      fixed += PER_TOOL
      text(tool.name)
      if (tool.description !== undefined) text(tool.description)
      json(tool.type === 'function' ? tool.parameters : tool.format)
      if (tool.type === 'function' && tool.cache?.ttl === '1h') longCache = true
    }
  }
  if (request.responseFormat?.type === 'json-schema') {
    fixed += JSON_SCHEMA
    json(request.responseFormat.schema)
  }
  if (Object.keys(request.providerOptions).length > 0) {
    const options = JSON.stringify(request.providerOptions)
    text(options)
    if (options.includes('"1h"')) longCache = true
    open = PROVIDER_TOOL.test(options)
    if (open) fixed += PROVIDER_TOOLS
  }
  return { quarters, fixed, media, exact: 0, images, audio, longCache, open }
}

/** As {@link promptSize}, for texts to embed; arrays of tokens are their own count. */
export function embeddingsSize(request: EmbeddingsRequest): PromptSize {
  let quarters = 0
  let exact = 0
  for (const one of request.input) {
    if (typeof one === 'string') quarters += textQuarters(one)
    else exact += one.length
  }
  const fixed = PER_MESSAGE * request.input.length
  return {
    quarters,
    fixed,
    media: 0,
    exact,
    images: 0,
    audio: false,
    longCache: false,
    open: false,
  }
}

export interface PromptLimits {
  readonly contextTokens?: number | undefined
  readonly imageTokens?: number | undefined
}

/**
 * Most tokens the prompt can have.
 *
 * @param factor what {@link createCalibration} learnt of the model; 1 for nothing
 */
export function promptBound(size: PromptSize, limits: PromptLimits = {}, factor = 1): number {
  const text = Math.ceil((size.quarters * factor) / 4)
  const media = size.media + size.images * Math.max(PER_IMAGE, limits.imageTokens ?? 0)
  // A provider refuses what is longer than its context: media cannot be more than that.
  return text + size.exact + size.fixed + Math.min(media, limits.contextTokens ?? media)
}

/**
 * A likely count of the prompt's tokens, for an entry that no provider's count came for.
 *
 * @param countTokens counts a text
 */
export async function likelyPrompt(
  asked: Asked,
  size: PromptSize,
  countTokens: (text: string) => Promise<number>,
): Promise<number> {
  const texts =
    asked.operation === 'chat'
      ? textsOf(asked.request)
      : asked.request.input.filter((one) => typeof one === 'string')
  const wrappers =
    asked.operation === 'chat' ? LIKELY_PER_MESSAGE * asked.request.messages.length : 0
  const media = Math.ceil(size.media / 2) + size.images * LIKELY_IMAGE
  return size.exact + wrappers + media + (await countTokens(texts.join('\n')))
}

function textsOf({ messages, tools }: ChatRequest): readonly string[] {
  const texts = tools === undefined ? [] : [JSON.stringify(tools)]
  for (const { content } of messages) {
    for (const one of content) {
      if ('text' in one) texts.push(one.text)
      else if (one.type === 'tool-call') texts.push(one.name, one.arguments)
    }
  }
  return texts
}

/**
 * How many tokens a text can be, in quarters of a token, by its characters.
 *
 * Letters and blanks count a half: every pair of them is one token or part of one in the
 * vocabularies in use. Digits and signs count one, as do letters beyond ASCII; characters
 * of three bytes in UTF-8 count two, of four bytes four. Plain English comes out at twice
 * its tokens, which calibration mends.
 */
export function textQuarters(text: string): number {
  let quarters = 0
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    quarters += unit < 128 ? ASCII[unit]! : unit < 0x800 ? 4 : 8
  }
  return quarters
}

const ASCII = Uint8Array.from({ length: 128 }, (_, unit) =>
  /[A-Za-z ]/.test(String.fromCharCode(unit)) ? 2 : 4,
)

function bytesOf(base64: string): number {
  return Math.ceil((base64.length * 3) / 4)
}
