import { describe, expect, it } from 'vitest'
import type { ChatRequest, JsonObject, ResponseFormat, Tool, ToolChoice } from '#protocol'
import { body, changes, refusal } from './anthropic-requests.ts'

const OLD = { model: 'claude-sonnet-4-0' }
const ADD: Tool = {
  type: 'function',
  name: 'add',
  description: 'Adds',
  parameters: { type: 'object', properties: { a: { type: 'number' } } },
}
const NOW: Tool = { type: 'function', name: 'now' }

describe('tools for Anthropic', () => {
  it('are flat and always have a schema of an object', () => {
    expect(body({ tools: [ADD, NOW] })['tools']).toEqual([
      {
        name: 'add',
        description: 'Adds',
        input_schema: { type: 'object', properties: { a: { type: 'number' } } },
      },
      { name: 'now', input_schema: { type: 'object', properties: {} } },
    ])
    expect(changes({ tools: [ADD, NOW] })).toEqual([])
  })

  it('have names in the letters the API takes, no two the same', () => {
    const tools: Tool[] = ['a.b', 'a_b', 'a b', 'x'.repeat(128), 'y'.repeat(129)].map((name) => ({
      type: 'function',
      name,
    }))
    expect(body({ tools })['tools']).toMatchObject([
      { name: 'a_b_2' },
      { name: 'a_b' },
      { name: 'a_b_3' },
      { name: 'x'.repeat(128) },
      { name: 'y'.repeat(128) },
    ])
    expect(changes({ tools })).toEqual([0, 2, 4].map((n) => `adapted tools[${n}].function.name`))
  })

  it('are called in the conversation as they are declared', () => {
    const messages: ChatRequest['messages'] = [
      {
        role: 'assistant',
        content: [{ type: 'tool-call', id: 'a', name: 'a.b', arguments: '{}' }],
      },
      { role: 'tool', callId: 'a', content: [] },
    ]
    const tools: Tool[] = [{ type: 'function', name: 'a.b' }]
    expect(body({ messages, tools }).messages[0]?.content[0]).toMatchObject({ name: 'a_b' })
  })

  it('that are strict have closed schemas', () => {
    const tools: Tool[] = [{ ...ADD, strict: true }]
    expect(body({ tools })['tools']).toMatchObject([
      { strict: true, input_schema: { type: 'object', additionalProperties: false } },
    ])
    expect(changes({ tools })).toEqual(['adapted tools[0].function.parameters'])
    expect(changes({ tools }, OLD)).toEqual(['lossy tools[0].function.strict'])
  })

  it('that take free text are functions of one argument', () => {
    const grammar: JsonObject = { type: 'grammar', grammar: { syntax: 'regex', definition: 'a+' } }
    const tools: Tool[] = [
      { type: 'custom', name: 'shell', description: 'Runs' },
      { type: 'custom', name: 'as', format: grammar },
    ]
    const schema = {
      type: 'object',
      properties: { input: { type: 'string' } },
      required: ['input'],
      additionalProperties: false,
    }
    expect(body({ tools })['tools']).toEqual([
      { name: 'shell', description: 'Runs', input_schema: schema },
      {
        name: 'as',
        description: `The input must match: ${JSON.stringify(grammar)}`,
        input_schema: schema,
      },
    ])
    expect(changes({ tools })).toEqual([
      'adapted tools[0]',
      'adapted tools[1]',
      'lossy tools[1].custom.format',
    ])
  })
})

describe('the tool choice for Anthropic', () => {
  it.each<[string, ToolChoice | undefined, boolean | undefined, unknown]>([
    ['nothing', undefined, undefined, undefined],
    ['nothing, in parallel', undefined, true, undefined],
    ['nothing, one at a time', undefined, false, { type: 'auto', disable_parallel_tool_use: true }],
    ['auto', { type: 'auto' }, undefined, { type: 'auto' }],
    ['none', { type: 'none' }, undefined, { type: 'none' }],
    ['none, one at a time', { type: 'none' }, false, { type: 'none' }],
    ['required', { type: 'required' }, undefined, { type: 'any' }],
    [
      'required, one at a time',
      { type: 'required' },
      false,
      { type: 'any', disable_parallel_tool_use: true },
    ],
    ['one tool', { type: 'tool', name: 'add' }, undefined, { type: 'tool', name: 'add' }],
    [
      'one tool, one at a time',
      { type: 'tool', name: 'add' },
      false,
      { type: 'tool', name: 'add', disable_parallel_tool_use: true },
    ],
  ])('of %s', (_, toolChoice, parallelToolCalls, written) => {
    const request = {
      tools: [ADD],
      ...(toolChoice && { toolChoice }),
      ...(parallelToolCalls !== undefined && { parallelToolCalls }),
    }
    expect(body(request)['tool_choice']).toEqual(written)
    expect(changes(request)).toEqual([])
  })

  it.each([
    ['auto', 'auto'],
    ['required', 'any'],
  ] as const)('among some tools (%s) sends those alone', (mode, type) => {
    const request = {
      tools: [ADD, NOW],
      toolChoice: { type: 'allowed', mode, names: ['now'] },
    } as const
    expect(body(request)).toMatchObject({ tools: [{ name: 'now' }], tool_choice: { type } })
    expect(body(request)['tools']).toHaveLength(1)
    expect(changes(request)).toEqual(['adapted tool_choice'])
  })

  it('is not said without tools', () => {
    expect(body({ toolChoice: { type: 'auto' }, parallelToolCalls: false })).not.toHaveProperty(
      'tool_choice',
    )
  })

  it.each<[string, Partial<ChatRequest>]>([
    ['any of no tools', { toolChoice: { type: 'required' } }],
    ['one of no tools', { toolChoice: { type: 'tool', name: 'add' } }],
    ['a tool that is not there', { tools: [NOW], toolChoice: { type: 'tool', name: 'add' } }],
    [
      'none of the tools',
      { tools: [NOW], toolChoice: { type: 'allowed', mode: 'required', names: ['add'] } },
    ],
  ])('can not force %s', (_, request) => {
    expect(refusal(request)).toMatchObject({ code: 'invalid_value', param: 'tool_choice' })
  })

  it('is loosened for models that can not be forced', () => {
    const request: Partial<ChatRequest> = { tools: [ADD], toolChoice: { type: 'required' } }
    const to = { model: 'claude-fable-5-1' }
    expect(body(request, to)['tool_choice']).toEqual({ type: 'auto' })
    expect(changes(request, to)).toEqual(['lossy tool_choice'])
  })
})

describe('the answer format for Anthropic', () => {
  it('of a schema is enforced by the API, with every object closed', () => {
    const schema: JsonObject = {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      properties: {
        list: { type: 'array', items: { type: 'object', properties: {} }, minItems: 1 },
        either: { oneOf: [{ $ref: '#/$defs/thing' }, { type: 'null' }] },
      },
      required: ['list'],
      $defs: { thing: { type: ['object', 'null'], properties: {}, additionalProperties: false } },
    }
    expect(format(schema)).toEqual({
      type: 'object',
      properties: {
        list: {
          type: 'array',
          items: { type: 'object', properties: {}, additionalProperties: false },
          minItems: 1,
        },
        either: { anyOf: [{ $ref: '#/$defs/thing' }, { type: 'null' }] },
      },
      required: ['list'],
      $defs: { thing: { type: ['object', 'null'], properties: {}, additionalProperties: false } },
      additionalProperties: false,
    })
    expect(changes({ responseFormat: asked(schema) })).toEqual([
      'adapted response_format.json_schema.schema',
    ])
  })

  it('needs no word when the schema is closed already', () => {
    const schema: JsonObject = {
      type: 'object',
      properties: { a: { type: 'string', format: 'date' } },
      additionalProperties: false,
    }
    expect(format(schema)).toEqual(schema)
    expect(changes({ responseFormat: asked(schema) })).toEqual([])
  })

  it('tells the model what the API does not enforce', () => {
    const schema: JsonObject = { type: 'integer', description: 'Age', minimum: 0, maximum: 130 }
    expect(format(schema)).toEqual({
      type: 'integer',
      description: 'Age\n\n{minimum: 0, maximum: 130}',
    })
    expect(changes({ responseFormat: asked(schema) })).toEqual([
      'adapted response_format.json_schema.schema',
    ])
  })

  it('loses free keys, by name', () => {
    const schema: JsonObject = {
      type: 'object',
      properties: { map: { type: 'object', additionalProperties: { type: 'string' } } },
      additionalProperties: false,
    }
    expect(changes({ responseFormat: asked(schema) })).toEqual([
      'lossy response_format.json_schema.schema',
    ])
  })

  it('takes properties of any name', () => {
    const schema: JsonObject = JSON.parse(
      '{"type":"object","additionalProperties":false,"properties":{"__proto__":{"type":"string"},"items":{"type":"string"}}}',
    )
    expect(format(schema)).toEqual(schema)
  })

  it.each([
    [true, 'lossy response_format'],
    [false, 'adapted response_format'],
  ])('of a schema is put in words for older models (strict: %s)', (strict, noted) => {
    const responseFormat = { ...asked({ type: 'object' }), strict }
    const written = body({ responseFormat }, OLD)
    expect(written).not.toHaveProperty('output_config')
    expect(written['system']).toEqual([
      { type: 'text', text: expect.stringContaining('{"type":"object"}') },
    ])
    expect(changes({ responseFormat }, OLD)).toEqual([noted])
  })

  it('of any JSON is put in words, after the instructions', () => {
    const request: Partial<ChatRequest> = {
      responseFormat: { type: 'json-object' },
      messages: [
        { role: 'system', content: [{ type: 'text', text: 'Be brief', cache: {} }] },
        { role: 'user', content: [{ type: 'text', text: 'x' }] },
      ],
    }
    expect(body(request)['system']).toMatchObject([
      { text: 'Be brief' },
      { text: expect.stringContaining('JSON object') },
    ])
    expect(changes(request)).toEqual(['adapted response_format'])
  })

  it('of text says nothing', () => {
    expect(body({ responseFormat: { type: 'text' } })).not.toHaveProperty('system')
  })
})

function asked(schema: JsonObject): Extract<ResponseFormat, { type: 'json-schema' }> {
  return { type: 'json-schema', name: 'answer', schema }
}

function format(schema: JsonObject): unknown {
  const { output_config: config } = body({ responseFormat: asked(schema) })
  expect(config).toMatchObject({ format: { type: 'json_schema' } })
  const written: { format?: { schema?: unknown } } = Object(config)
  return written.format?.schema
}
