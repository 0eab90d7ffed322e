/** What the stand-in providers answer: the shapes of OpenAI and Anthropic, about 1 KB of text. */

const TEXT = 'The quick brown fox jumps over the lazy dog while the band plays on. '

/** A whole answer of `POST /v1/chat/completions`, 1 KB. */
export const WHOLE = JSON.stringify({
  id: 'chatcmpl-bench',
  object: 'chat.completion',
  created: 1_780_000_000,
  model: 'gpt-5-mini',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: TEXT.repeat(9), refusal: null, annotations: [] },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage: {
    prompt_tokens: 180,
    completion_tokens: 140,
    total_tokens: 320,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
  },
  service_tier: 'default',
  system_fingerprint: 'fp_bench',
})

/** A streamed answer in parts: what comes first, one more event, and the end. */
export interface Stream {
  readonly first: string
  readonly event: string
  readonly last: string
  /** Events in `first` and `last`, so that a stream of so many can be made. */
  readonly fixed: number
}

function openAIChunk(delta: object, finishReason: string | null, usage: object | null): string {
  const choices = [{ index: 0, delta, logprobs: null, finish_reason: finishReason }]
  return `data: ${JSON.stringify({
    id: 'chatcmpl-bench',
    object: 'chat.completion.chunk',
    created: 1_780_000_000,
    model: 'gpt-5-mini',
    service_tier: 'default',
    system_fingerprint: 'fp_bench',
    choices: usage === null ? choices : [],
    usage,
  })}\n\n`
}

export const OPENAI: Stream = {
  first:
    openAIChunk({ role: 'assistant', content: '', refusal: null }, null, null) +
    openAIChunk({ content: 'The' }, null, null),
  event: openAIChunk({ content: ' quick' }, null, null),
  last:
    openAIChunk({}, 'stop', null) +
    openAIChunk({}, null, { prompt_tokens: 180, completion_tokens: 140, total_tokens: 320 }) +
    'data: [DONE]\n\n',
  fixed: 5,
}

function anthropicEvent(type: string, body: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...body })}\n\n`
}

function anthropicDelta(text: string): string {
  return anthropicEvent('content_block_delta', { index: 0, delta: { type: 'text_delta', text } })
}

export const ANTHROPIC: Stream = {
  first:
    anthropicEvent('message_start', {
      message: {
        id: 'msg_bench',
        type: 'message',
        role: 'assistant',
        model: 'claude-haiku-4-5',
        content: [],
        stop_reason: null,
        stop_sequence: null,
        usage: { input_tokens: 180, output_tokens: 1 },
      },
    }) +
    anthropicEvent('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }) +
    anthropicDelta('The'),
  event: anthropicDelta(' quick'),
  last:
    anthropicEvent('content_block_stop', { index: 0 }) +
    anthropicEvent('message_delta', {
      delta: { stop_reason: 'end_turn', stop_sequence: null },
      usage: { output_tokens: 140 },
    }) +
    anthropicEvent('message_stop', {}),
  fixed: 6,
}

/** A request of 1 KB. @param model as the gateway knows it */
export function requestBody(model: string, stream: boolean): string {
  return JSON.stringify({
    model,
    messages: [
      { role: 'system', content: TEXT.repeat(4) },
      { role: 'user', content: TEXT.repeat(8) },
    ],
    max_completion_tokens: 200,
    temperature: 0.5,
    ...(stream && { stream, stream_options: { include_usage: true } }),
  })
}

export function requestText(path: string, body: string, key: string): string {
  return (
    `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${key}\r\n` +
    `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  )
}
