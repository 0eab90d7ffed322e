import { sign } from '../stand-ins/said.ts'
import type { Said } from '../stand-ins/said.ts'
import type { Asked, Kind, Sent } from './wires.ts'

/** One thing an application asks of a model, and what has to come of it with every provider. */
export interface Scenario {
  readonly asked: Asked
  readonly says: Said
  readonly sent: Sent
  /** What `x-tollgate-translation` says, where it is not `exact`. */
  readonly translation?: Partial<Record<Kind, 'adapted' | 'lossy'>>
}

const WEATHER = {
  type: 'object',
  properties: { city: { type: 'string', description: 'Name of the city' } },
  required: ['city'],
  additionalProperties: false,
}
const DESCRIPTION = 'Current weather of a city'

const CITY = {
  type: 'object',
  properties: {
    name: { type: 'string' },
    inhabitants: { type: 'integer' },
    rivers: { type: 'array', items: { type: 'string' } },
  },
  required: ['name', 'inhabitants', 'rivers'],
  additionalProperties: false,
}

/** A red dot. */
export const PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg=='
const PNG_URL = `data:image/png;base64,${PNG}`

export const text: Scenario = {
  asked: {
    messages: [
      { role: 'system', content: 'Answer in one sentence.' },
      { role: 'user', content: 'What is the capital of France? 🇫🇷' },
    ],
    temperature: 0.5,
    top_p: 1,
    max_completion_tokens: 200,
    stop: ['END'],
  },
  says: {
    text: 'The capital of France is Paris — „la Ville Lumière“ 🗼.',
    usage: { prompt: 60, cached: 20, output: 17, reasoning: 0 },
  },
  sent: {
    openai: {
      model: 'gpt-5-mini',
      messages: [
        { role: 'system', content: 'Answer in one sentence.' },
        { role: 'user', content: 'What is the capital of France? 🇫🇷' },
      ],
      temperature: 0.5,
      top_p: 1,
      max_completion_tokens: 200,
      stop: ['END'],
    },
    anthropic: {
      model: 'claude-sonnet-4-5',
      max_tokens: 200,
      system: [{ type: 'text', text: 'Answer in one sentence.' }],
      messages: [
        {
          role: 'user',
          content: [{ type: 'text', text: 'What is the capital of France? 🇫🇷' }],
        },
      ],
      temperature: 0.5,
      stop_sequences: ['END'],
    },
    google: {
      systemInstruction: { parts: [{ text: 'Answer in one sentence.' }] },
      contents: [{ role: 'user', parts: [{ text: 'What is the capital of France? 🇫🇷' }] }],
      generationConfig: {
        maxOutputTokens: 200,
        temperature: 0.5,
        topP: 1,
        stopSequences: ['END'],
      },
    },
    mistral: {
      model: 'mistral-medium-latest',
      messages: [
        { role: 'system', content: 'Answer in one sentence.' },
        { role: 'user', content: 'What is the capital of France? 🇫🇷' },
      ],
      stream: false,
      temperature: 0.5,
      top_p: 1,
      max_tokens: 200,
      stop: ['END'],
    },
    llamacpp: {
      model: 'qwen3-8b',
      messages: [
        { role: 'system', content: 'Answer in one sentence.' },
        { role: 'user', content: 'What is the capital of France? 🇫🇷' },
      ],
      temperature: 0.5,
      top_p: 1,
      max_tokens: 200,
      stop: ['END'],
    },
  },
}

export const cutShort: Scenario = {
  asked: {
    messages: [{ role: 'user', content: 'Count to a hundred.' }],
    max_completion_tokens: 16,
  },
  says: {
    text: 'One, two, three, four,',
    cutShort: true,
    usage: { prompt: 12, cached: 0, output: 16, reasoning: 0 },
  },
  sent: {
    openai: {
      model: 'gpt-5-mini',
      messages: [{ role: 'user', content: 'Count to a hundred.' }],
      max_completion_tokens: 16,
    },
    anthropic: {
      model: 'claude-sonnet-4-5',
      max_tokens: 16,
      messages: [{ role: 'user', content: [{ type: 'text', text: 'Count to a hundred.' }] }],
    },
    google: {
      contents: [{ role: 'user', parts: [{ text: 'Count to a hundred.' }] }],
      generationConfig: { maxOutputTokens: 16 },
    },
    mistral: {
      model: 'mistral-medium-latest',
      messages: [{ role: 'user', content: 'Count to a hundred.' }],
      stream: false,
      max_tokens: 16,
    },
    llamacpp: {
      model: 'qwen3-8b',
      messages: [{ role: 'user', content: 'Count to a hundred.' }],
      max_tokens: 16,
    },
  },
}

export const oneTool: Scenario = {
  asked: {
    messages: [{ role: 'user', content: 'How is the weather in Kraków?' }],
    max_completion_tokens: 500,
    tools: [
      {
        type: 'function',
        function: {
          name: 'get_weather',
          description: DESCRIPTION,
          parameters: WEATHER,
          strict: true,
        },
      },
    ],
    tool_choice: { type: 'function', function: { name: 'get_weather' } },
    parallel_tool_calls: false,
  },
  says: {
    calls: [{ name: 'get_weather', arguments: { city: 'Kraków' } }],
    usage: { prompt: 90, cached: 0, output: 22, reasoning: 0 },
  },
  translation: { google: 'lossy', llamacpp: 'lossy' },
  sent: {
    openai: {
      model: 'gpt-5-mini',
      messages: [{ role: 'user', content: 'How is the weather in Kraków?' }],
      max_completion_tokens: 500,
      tools: [
        {
          type: 'function',
          function: {
            name: 'get_weather',
            description: DESCRIPTION,
            parameters: WEATHER,
            strict: true,
          },
        },
      ],
      tool_choice: { type: 'function', function: { name: 'get_weather' } },
      parallel_tool_calls: false,
    },
    anthropic: {
      model: 'claude-sonnet-4-5',
      max_tokens: 500,
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'How is the weather in Kraków?' }] },
      ],
      tools: [
        {
          name: 'get_weather',
          description: DESCRIPTION,
          input_schema: { ...WEATHER, type: 'object' },
          strict: true,
        },
      ],
      tool_choice: { type: 'tool', name: 'get_weather', disable_parallel_tool_use: true },
    },
    google: {
      contents: [{ role: 'user', parts: [{ text: 'How is the weather in Kraków?' }] }],
      tools: [
        {
          functionDeclarations: [
            {
              name: 'get_weather',
              description: DESCRIPTION,
              parametersJsonSchema: WEATHER,
            },
          ],
        },
      ],
      toolConfig: {
        functionCallingConfig: { mode: 'ANY', allowedFunctionNames: ['get_weather'] },
      },
      generationConfig: { maxOutputTokens: 500 },
    },
    mistral: {
      model: 'mistral-medium-latest',
      messages: [{ role: 'user', content: 'How is the weather in Kraków?' }],
      stream: false,
      max_tokens: 500,
      tools: [
        {
          type: 'function',
          function: {
            name: 'get_weather',
            description: DESCRIPTION,
            strict: true,
            parameters: WEATHER,
          },
        },
      ],
      tool_choice: { type: 'function', function: { name: 'get_weather' } },
      parallel_tool_calls: false,
    },
    llamacpp: {
      model: 'qwen3-8b',
      messages: [{ role: 'user', content: 'How is the weather in Kraków?' }],
      max_tokens: 500,
      tools: [
        {
          type: 'function',
          function: {
            name: 'get_weather',
            description: DESCRIPTION,
            parameters: WEATHER,
            strict: true,
          },
        },
      ],
      tool_choice: { type: 'function', function: { name: 'get_weather' } },
      parallel_tool_calls: false,
    },
  },
}

export const schema: Scenario = {
  asked: {
    messages: [{ role: 'user', content: 'Describe Vienna.' }],
    max_completion_tokens: 300,
    response_format: {
      type: 'json_schema',
      json_schema: { name: 'city', schema: CITY, strict: true },
    },
  },
  says: {
    text: JSON.stringify({ name: 'Wien', inhabitants: 2_014_614, rivers: ['Donau', 'Wien'] }),
    usage: { prompt: 80, cached: 0, output: 30, reasoning: 0 },
  },
  sent: {
    openai: {
      model: 'gpt-5-mini',
      messages: [{ role: 'user', content: 'Describe Vienna.' }],
      max_completion_tokens: 300,
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'city', schema: CITY, strict: true },
      },
    },
    anthropic: {
      model: 'claude-sonnet-4-5',
      max_tokens: 300,
      messages: [{ role: 'user', content: [{ type: 'text', text: 'Describe Vienna.' }] }],
      output_config: { format: { type: 'json_schema', schema: CITY } },
    },
    google: {
      contents: [{ role: 'user', parts: [{ text: 'Describe Vienna.' }] }],
      generationConfig: {
        maxOutputTokens: 300,
        responseMimeType: 'application/json',
        responseJsonSchema: CITY,
      },
    },
    mistral: {
      model: 'mistral-medium-latest',
      messages: [{ role: 'user', content: 'Describe Vienna.' }],
      stream: false,
      max_tokens: 300,
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'city', schema: CITY, strict: true },
      },
    },
    llamacpp: {
      model: 'qwen3-8b',
      messages: [{ role: 'user', content: 'Describe Vienna.' }],
      max_tokens: 300,
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'city', schema: CITY, strict: true },
      },
    },
  },
}

export const image: Scenario = {
  asked: {
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What is this?' },
          { type: 'image_url', image_url: { url: PNG_URL, detail: 'low' } },
        ],
      },
    ],
    max_completion_tokens: 100,
  },
  says: { text: 'A red dot.', usage: { prompt: 270, cached: 0, output: 6, reasoning: 0 } },
  translation: { anthropic: 'lossy', google: 'lossy' },
  sent: {
    openai: {
      model: 'gpt-5-mini',
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What is this?' },
            { type: 'image_url', image_url: { url: PNG_URL, detail: 'low' } },
          ],
        },
      ],
      max_completion_tokens: 100,
    },
    anthropic: {
      model: 'claude-sonnet-4-5',
      max_tokens: 100,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What is this?' },
            { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PNG } },
          ],
        },
      ],
    },
    google: {
      contents: [
        {
          role: 'user',
          parts: [{ text: 'What is this?' }, { inlineData: { mimeType: 'image/png', data: PNG } }],
        },
      ],
      generationConfig: { maxOutputTokens: 100 },
    },
    mistral: {
      model: 'mistral-medium-latest',
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What is this?' },
            { type: 'image_url', image_url: { url: PNG_URL, detail: 'low' } },
          ],
        },
      ],
      stream: false,
      max_tokens: 100,
    },
    llamacpp: {
      model: 'qwen3-8b',
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What is this?' },
            { type: 'image_url', image_url: { url: PNG_URL, detail: 'low' } },
          ],
        },
      ],
      max_tokens: 100,
    },
  },
}

const THOUGHT = 'They want 17 times 3; that makes 51.'

export const reasoning: Scenario = {
  asked: {
    messages: [{ role: 'user', content: 'What is 17 times 3?' }],
    max_completion_tokens: 8000,
    reasoning_effort: 'high',
  },
  says: {
    thinking: THOUGHT,
    text: 'It is 51.',
    usage: { prompt: 20, cached: 0, output: 45, reasoning: 30 },
  },
  sent: {
    openai: {
      model: 'gpt-5-mini',
      messages: [{ role: 'user', content: 'What is 17 times 3?' }],
      max_completion_tokens: 8000,
      reasoning_effort: 'high',
    },
    anthropic: {
      model: 'claude-sonnet-4-5',
      max_tokens: 8000,
      messages: [{ role: 'user', content: [{ type: 'text', text: 'What is 17 times 3?' }] }],
      thinking: { type: 'enabled', budget_tokens: 6400 },
    },
    google: {
      contents: [{ role: 'user', parts: [{ text: 'What is 17 times 3?' }] }],
      generationConfig: {
        maxOutputTokens: 8000,
        thinkingConfig: { includeThoughts: true, thinkingLevel: 'HIGH' },
      },
    },
    mistral: {
      model: 'mistral-medium-latest',
      messages: [{ role: 'user', content: 'What is 17 times 3?' }],
      stream: false,
      max_tokens: 8000,
      reasoning_effort: 'high',
    },
    llamacpp: {
      model: 'qwen3-8b',
      messages: [{ role: 'user', content: 'What is 17 times 3?' }],
      max_tokens: 8000,
      reasoning_effort: 'high',
    },
  },
}

const PLAN = 'Two cities: I ask for both at once.'
const QUESTION = 'Is it warmer in Oslo or in Rome?'
const TOOL = {
  type: 'function',
  function: { name: 'get_weather', description: DESCRIPTION, parameters: WEATHER },
} as const
const GEMINI_TOOL = {
  functionDeclarations: [
    { name: 'get_weather', description: DESCRIPTION, parametersJsonSchema: WEATHER },
  ],
}
const ANTHROPIC_TOOL = {
  name: 'get_weather',
  description: DESCRIPTION,
  input_schema: { ...WEATHER, type: 'object' },
} as const
const OSLO = { city: 'Oslo' }
const ROME = { city: 'Rome' }

/** The first of two turns: the model thinks, then calls twice. */
export const parallelTools: Scenario = {
  asked: {
    messages: [{ role: 'user', content: QUESTION }],
    max_completion_tokens: 8000,
    reasoning_effort: 'high',
    tools: [TOOL],
    tool_choice: 'auto',
  },
  says: {
    thinking: PLAN,
    calls: [
      { name: 'get_weather', arguments: OSLO },
      { name: 'get_weather', arguments: ROME },
    ],
    usage: { prompt: 110, cached: 0, output: 75, reasoning: 25 },
  },
  sent: {
    openai: {
      model: 'gpt-5-mini',
      messages: [{ role: 'user', content: QUESTION }],
      max_completion_tokens: 8000,
      reasoning_effort: 'high',
      tools: [TOOL],
      tool_choice: 'auto',
    },
    anthropic: {
      model: 'claude-sonnet-4-5',
      max_tokens: 8000,
      messages: [{ role: 'user', content: [{ type: 'text', text: QUESTION }] }],
      thinking: { type: 'enabled', budget_tokens: 6400 },
      tools: [ANTHROPIC_TOOL],
      tool_choice: { type: 'auto' },
    },
    google: {
      contents: [{ role: 'user', parts: [{ text: QUESTION }] }],
      tools: [GEMINI_TOOL],
      toolConfig: { functionCallingConfig: { mode: 'AUTO' } },
      generationConfig: {
        maxOutputTokens: 8000,
        thinkingConfig: { includeThoughts: true, thinkingLevel: 'HIGH' },
      },
    },
    mistral: {
      model: 'mistral-medium-latest',
      messages: [{ role: 'user', content: QUESTION }],
      stream: false,
      max_tokens: 8000,
      reasoning_effort: 'high',
      tools: [TOOL],
      tool_choice: 'auto',
    },
    llamacpp: {
      model: 'qwen3-8b',
      messages: [{ role: 'user', content: QUESTION }],
      max_tokens: 8000,
      reasoning_effort: 'high',
      tools: [TOOL],
      tool_choice: 'auto',
    },
  },
}

/** What the tools of {@link parallelTools} answer, given back in this order. */
export const RESULTS = ['{"celsius":-3}', '{"celsius":16}']

/** The second turn; its messages are those of the first, the model's own, and the results. */
export const afterTools: Omit<Scenario, 'asked'> = {
  says: {
    text: 'In Rome, by 19 degrees.',
    usage: { prompt: 240, cached: 100, output: 12, reasoning: 0 },
  },
  sent: {
    openai: {
      model: 'gpt-5-mini',
      messages: [
        { role: 'user', content: QUESTION },
        {
          role: 'assistant',
          content: null,
          tool_calls: [
            {
              id: 'call_openai_0',
              type: 'function',
              function: { name: 'get_weather', arguments: '{"city":"Oslo"}' },
            },
            {
              id: 'call_openai_1',
              type: 'function',
              function: { name: 'get_weather', arguments: '{"city":"Rome"}' },
            },
          ],
        },
        { role: 'tool', tool_call_id: 'call_openai_0', content: '{"celsius":-3}' },
        { role: 'tool', tool_call_id: 'call_openai_1', content: '{"celsius":16}' },
      ],
      max_completion_tokens: 8000,
      reasoning_effort: 'high',
      tools: [TOOL],
      tool_choice: 'auto',
    },
    anthropic: {
      model: 'claude-sonnet-4-5',
      max_tokens: 8000,
      messages: [
        { role: 'user', content: [{ type: 'text', text: QUESTION }] },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: PLAN, signature: sign(PLAN) },
            { type: 'tool_use', id: 'toolu_standin_0', name: 'get_weather', input: OSLO },
            { type: 'tool_use', id: 'toolu_standin_1', name: 'get_weather', input: ROME },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'toolu_standin_0', content: '{"celsius":-3}' },
            { type: 'tool_result', tool_use_id: 'toolu_standin_1', content: '{"celsius":16}' },
          ],
        },
      ],
      thinking: { type: 'enabled', budget_tokens: 6400 },
      tools: [ANTHROPIC_TOOL],
      tool_choice: { type: 'auto' },
    },
    google: {
      contents: [
        { role: 'user', parts: [{ text: QUESTION }] },
        {
          role: 'model',
          parts: [
            {
              functionCall: { name: 'get_weather', args: OSLO, id: 'gemini0' },
              thoughtSignature: sign('get_weather', OSLO),
            },
            { functionCall: { name: 'get_weather', args: ROME, id: 'gemini1' } },
          ],
        },
        {
          role: 'user',
          parts: [
            {
              functionResponse: {
                name: 'get_weather',
                id: 'gemini0',
                response: { output: '{"celsius":-3}' },
              },
            },
            {
              functionResponse: {
                name: 'get_weather',
                id: 'gemini1',
                response: { output: '{"celsius":16}' },
              },
            },
          ],
        },
      ],
      tools: [GEMINI_TOOL],
      toolConfig: { functionCallingConfig: { mode: 'AUTO' } },
      generationConfig: {
        maxOutputTokens: 8000,
        thinkingConfig: { includeThoughts: true, thinkingLevel: 'HIGH' },
      },
    },
    mistral: {
      model: 'mistral-medium-latest',
      messages: [
        { role: 'user', content: QUESTION },
        {
          role: 'assistant',
          content: '',
          tool_calls: [
            {
              id: 'mistral00',
              type: 'function',
              function: { name: 'get_weather', arguments: '{"city":"Oslo"}' },
            },
            {
              id: 'mistral01',
              type: 'function',
              function: { name: 'get_weather', arguments: '{"city":"Rome"}' },
            },
          ],
        },
        { role: 'tool', tool_call_id: 'mistral00', content: '{"celsius":-3}' },
        { role: 'tool', tool_call_id: 'mistral01', content: '{"celsius":16}' },
      ],
      stream: false,
      max_tokens: 8000,
      reasoning_effort: 'high',
      tools: [TOOL],
      tool_choice: 'auto',
    },
    llamacpp: {
      model: 'qwen3-8b',
      messages: [
        { role: 'user', content: QUESTION },
        {
          role: 'assistant',
          content: null,
          tool_calls: [
            {
              id: 'llamaCall0',
              type: 'function',
              function: { name: 'get_weather', arguments: '{"city":"Oslo"}' },
            },
            {
              id: 'llamaCall1',
              type: 'function',
              function: { name: 'get_weather', arguments: '{"city":"Rome"}' },
            },
          ],
        },
        { role: 'tool', tool_call_id: 'llamaCall0', content: '{"celsius":-3}' },
        { role: 'tool', tool_call_id: 'llamaCall1', content: '{"celsius":16}' },
      ],
      max_tokens: 8000,
      reasoning_effort: 'high',
      tools: [TOOL],
      tool_choice: 'auto',
    },
  },
}

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  text,
  'an answer cut short': cutShort,
  'one tool call': oneTool,
  'parallel tool calls': parallelTools,
  'a JSON schema': schema,
  'an image': image,
  reasoning,
}
