import { describe, expect, it } from 'vitest'
import { GatewayError } from '#errors'
import { readChat } from '../../src/endpoints/chat-request.ts'

const HELLO = { role: 'user', content: 'Hi' }
const TOOL = { type: 'function', function: { name: 'f' } }

const FIELDS: readonly (readonly [fields: Record<string, unknown>, param: string])[] = [
  [{ model: undefined }, 'model'],
  [{ model: '' }, 'model'],
  [{ model: ['m'] }, 'model'],
  [{ messages: undefined }, 'messages'],
  [{ messages: [] }, 'messages'],
  [{ messages: 'Hi' }, 'messages'],
  [{ max_tokens: -1 }, 'max_tokens'],
  [{ max_tokens: 0 }, 'max_tokens'],
  [{ max_tokens: 1.5 }, 'max_tokens'],
  [{ max_tokens: '10' }, 'max_tokens'],
  [{ max_tokens: Number.NaN }, 'max_tokens'],
  [{ max_tokens: 2 ** 31 }, 'max_tokens'],
  [{ max_completion_tokens: 1e300 }, 'max_completion_tokens'],
  [{ max_tokens: 1, max_completion_tokens: 2 }, 'max_tokens'],
  [{ n: 0 }, 'n'],
  [{ n: 129 }, 'n'],
  [{ n: -5 }, 'n'],
  [{ temperature: 2.1 }, 'temperature'],
  [{ temperature: -0.1 }, 'temperature'],
  [{ temperature: Number.NaN }, 'temperature'],
  [{ temperature: 'hot' }, 'temperature'],
  [{ top_p: 1.1 }, 'top_p'],
  [{ top_k: 1.5 }, 'top_k'],
  [{ frequency_penalty: 3 }, 'frequency_penalty'],
  [{ presence_penalty: -3 }, 'presence_penalty'],
  [{ stop: [1] }, 'stop[0]'],
  [{ stop: 1 }, 'stop'],
  [{ seed: 0.5 }, 'seed'],
  [{ logprobs: 1 }, 'logprobs'],
  [{ logprobs: true, top_logprobs: 21 }, 'top_logprobs'],
  [{ top_logprobs: 1 }, 'top_logprobs'],
  [{ logit_bias: { '1': 101 } }, 'logit_bias.1'],
  [{ logit_bias: [1] }, 'logit_bias'],
  [{ reasoning_effort: 'hihg' }, 'reasoning_effort'],
  [{ reasoning: 'high' }, 'reasoning'],
  [{ reasoning: { max_tokens: -1 } }, 'reasoning.max_tokens'],
  [{ thinking: { type: 'enabled', budget_tokens: 'x' } }, 'thinking.budget_tokens'],
  [{ verbosity: 'loud' }, 'verbosity'],
  [{ user: 1 }, 'user'],
  [{ metadata: { a: 1 } }, 'metadata.a'],
  [{ service_tier: true }, 'service_tier'],
  [{ stream: 'true' }, 'stream'],
  [{ stream_options: { include_usage: 1 } }, 'stream_options.include_usage'],
  [{ response_format: 'json' }, 'response_format'],
  [{ response_format: {} }, 'response_format.type'],
  [{ response_format: { type: 'json_schema' } }, 'response_format.json_schema'],
  [
    { response_format: { type: 'json_schema', json_schema: { name: 'a', schema: 'x' } } },
    'response_format.json_schema.schema',
  ],
  [{ tools: {} }, 'tools'],
  [{ tools: [{ type: 'function' }] }, 'tools[0].function'],
  [{ tools: [{ type: 'function', function: {} }] }, 'tools[0].function.name'],
  [
    { tools: [TOOL, { type: 'function', function: { name: 'g', parameters: [] } }] },
    'tools[1].function.parameters',
  ],
  [{ tools: [{}] }, 'tools[0].type'],
  [{ tools: [TOOL], tool_choice: 'sometimes' }, 'tool_choice'],
  [{ tools: [TOOL], tool_choice: { type: 'function' } }, 'tool_choice.function'],
  [{ tools: [TOOL], tool_choice: { type: 'function', function: { name: 'g' } } }, 'tool_choice'],
  [
    {
      tools: [TOOL],
      tool_choice: { type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: [] } },
    },
    'tool_choice.allowed_tools.tools',
  ],
  [{ tool_choice: 'required' }, 'tool_choice'],
  [{ functions: [{ name: 'f' }], function_call: { name: 'g' } }, 'function_call'],
  [{ cache_control: { type: 'forever' } }, 'cache_control.type'],
  [{ cache_control: { type: 'ephemeral', ttl: '2h' } }, 'cache_control.ttl'],
]

const MESSAGES: readonly (readonly [message: unknown, path: string])[] = [
  ['Hi', ''],
  [{ content: 'Hi' }, '.role'],
  [{ role: 'wizard', content: 'Hi' }, '.role'],
  [{ role: 'user' }, '.content'],
  [{ role: 'user', content: null }, '.content'],
  [{ role: 'user', content: 5 }, '.content'],
  [{ role: 'user', content: [5] }, '.content[0]'],
  [{ role: 'user', content: [{}] }, '.content[0].type'],
  [{ role: 'user', content: [{ type: 'text' }] }, '.content[0].text'],
  [{ role: 'user', content: [{ type: 'refusal', refusal: 'x' }] }, '.content[0]'],
  [{ role: 'system', content: [image('https://a')] }, '.content[0]'],
  [{ role: 'user', content: [{ type: 'image_url' }] }, '.content[0].image_url'],
  [{ role: 'user', content: [image('cat.png')] }, '.content[0].image_url.url'],
  [{ role: 'user', content: [image('data:image/png,abc')] }, '.content[0].image_url.url'],
  [{ role: 'user', content: [image('data:image/png;base64')] }, '.content[0].image_url.url'],
  [{ role: 'user', content: [image('data:image/png;base64,')] }, '.content[0].image_url.url'],
  [{ role: 'user', content: [image('data:image/png;base64,a b=')] }, '.content[0].image_url.url'],
  [
    {
      role: 'user',
      content: [{ type: 'image_url', image_url: { url: 'https://a', detail: 'x' } }],
    },
    '.content[0].image_url.detail',
  ],
  [
    { role: 'user', content: [{ type: 'input_audio', input_audio: { data: 'AAAA' } }] },
    '.content[0].input_audio.format',
  ],
  [{ role: 'user', content: [{ type: 'file', file: {} }] }, '.content[0].file'],
  [
    { role: 'user', content: [{ type: 'file', file: { file_data: 'JVBERi0=' } }] },
    '.content[0].file.file_data',
  ],
  [{ role: 'tool', content: 'x' }, '.tool_call_id'],
  [{ role: 'tool', tool_call_id: '', content: 'x' }, '.tool_call_id'],
  [{ role: 'tool', tool_call_id: 'c1' }, '.content'],
  [{ role: 'assistant', tool_calls: {} }, '.tool_calls'],
  [{ role: 'assistant', tool_calls: [{ type: 'function' }] }, '.tool_calls[0].id'],
  [{ role: 'assistant', tool_calls: [{ id: 'c' }] }, '.tool_calls[0].function'],
  [
    { role: 'assistant', tool_calls: [{ id: 'c', function: { name: 'f', arguments: {} } }] },
    '.tool_calls[0].function.arguments',
  ],
  [{ role: 'assistant', reasoning_details: [5] }, '.reasoning_details[0]'],
  [{ role: 'assistant', reasoning_content: 5 }, '.reasoning_content'],
  [{ role: 'function', name: 'f', content: 'x' }, '.name'],
]

describe('readChat refuses', () => {
  it.each(FIELDS)('%j, naming the field', (fields, param) => {
    expect(refusal({ model: 'm', messages: [HELLO], ...fields })).toMatchObject({
      code: 'invalid_value',
      param,
    })
  })

  it.each(MESSAGES)('the message %j, naming the field', (message, path) => {
    expect(refusal({ model: 'm', messages: [HELLO, message] })).toMatchObject({
      code: 'invalid_value',
      param: `messages[1]${path}`,
    })
  })

  it('with what was expected and what came', () => {
    expect(refusal({ model: 'm', messages: [HELLO], n: 200 }).message).toBe(
      'n: expected an integer from 1 to 128, got 200',
    )
    expect(refusal({ model: 'm', messages: [HELLO], verbosity: 'loud' }).message).toBe(
      'verbosity: expected one of "low", "medium", "high", got "loud"',
    )
  })

  it('without echoing long content', () => {
    const secret = 'secret '.repeat(50)
    const { message } = refusal({ model: 'm', messages: [HELLO], verbosity: secret })
    expect(message).toContain('a string of 350 characters')
    expect(message).not.toContain('secret')
  })
})

function image(url: string): object {
  return { type: 'image_url', image_url: { url } }
}

function refusal(body: object): GatewayError {
  try {
    // The values are JSON's but for NaN, which readBody keeps out.
    readChat({ ...body })
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
  throw new Error('It was accepted')
}
