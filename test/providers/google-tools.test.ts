import { describe, expect, it } from 'vitest'
import type { ChatRequest, Tool, ToolChoice } from '#protocol'
import { answer, decode, encode, stream, TIME, user, WEATHER } from './google-fixtures.ts'

const OLD = 'gemini-2.5-flash'
const schema = { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] }
const format = { type: 'json-schema', name: 'result', schema, strict: true } as const
const strict: Tool = { ...WEATHER, strict: true }

describe('tools of Gemini', () => {
  it('are one entry of declarations, with their JSON Schema untouched', () => {
    const parameters = {
      $schema: 'http://json-schema.org/draft-07/schema#',
      type: 'object',
      additionalProperties: false,
      properties: { a: { $ref: '#/$defs/a' }, b: { const: 1 }, c: { exclusiveMinimum: 0 } },
      $defs: { a: { anyOf: [{ type: 'string' }, { type: 'null' }] } },
    }
    const { body, changes } = encode({
      tools: [{ type: 'function', name: 'a', description: 'does a', parameters }, TIME],
    })
    expect(body.tools).toEqual([
      {
        functionDeclarations: [
          { name: 'a', description: 'does a', parametersJsonSchema: parameters },
          { name: 'time' },
        ],
      },
    ])
    expect(body.toolConfig).toBeUndefined()
    expect(changes).toEqual([])
  })

  it.each<[ToolChoice | undefined, Tool, object | undefined]>([
    [undefined, WEATHER, undefined],
    [undefined, strict, { mode: 'VALIDATED' }],
    [{ type: 'auto' }, WEATHER, { mode: 'AUTO' }],
    [{ type: 'auto' }, strict, { mode: 'VALIDATED' }],
    [{ type: 'none' }, strict, { mode: 'NONE' }],
    [{ type: 'required' }, WEATHER, { mode: 'ANY' }],
    [
      { type: 'tool', name: 'weather' },
      WEATHER,
      { mode: 'ANY', allowedFunctionNames: ['weather'] },
    ],
    [
      { type: 'allowed', mode: 'auto', names: ['weather'] },
      WEATHER,
      { mode: 'VALIDATED', allowedFunctionNames: ['weather'] },
    ],
    [
      { type: 'allowed', mode: 'required', names: ['weather'] },
      WEATHER,
      { mode: 'ANY', allowedFunctionNames: ['weather'] },
    ],
  ])('are chosen by %o', (toolChoice, tool, config) => {
    const { body } = encode({ tools: [tool, TIME], ...(toolChoice && { toolChoice }) })
    expect(body.toolConfig?.functionCallingConfig).toEqual(config)
  })

  it('have names Google takes, and come back under their own', () => {
    const names = ['ok.name:1-a', 'my tool', 'my_tool', '1st', 'x'.repeat(130), 'héllo']
    const fields = { tools: names.map((name): Tool => ({ type: 'function', name })) }
    const { body, changed } = encode(fields)
    const sent: string[] = body.tools[0].functionDeclarations.map(
      ({ name }: { name: string }) => name,
    )

    expect(sent).toEqual(['ok.name:1-a', 'my_tool_2', 'my_tool', '_1st', 'x'.repeat(128), 'h_llo'])
    expect(changed).toEqual([1, 3, 4, 5].map((at) => `adapted tools[${at}].function.name`))
    const { choices } = decode(answer(sent.map((name) => ({ functionCall: { name } }))), fields)
    expect(choices[0]?.content).toMatchObject(names.map((name) => ({ name })))
  })

  it('rename the calls of the history alike', () => {
    const { body } = encode({
      messages: [
        user('a'),
        {
          role: 'assistant',
          content: [{ type: 'tool-call', id: '1', name: 'my tool', arguments: '{}' }],
        },
        { role: 'tool', callId: '1', content: [{ type: 'text', text: 'x' }] },
      ],
      toolChoice: { type: 'tool', name: 'my tool' },
      tools: [{ type: 'function', name: 'my tool' }],
    })
    expect(body.contents[1].parts[0].functionCall.name).toBe('my_tool')
    expect(body.contents[2].parts[0].functionResponse.name).toBe('my_tool')
    expect(body.toolConfig.functionCallingConfig.allowedFunctionNames).toEqual(['my_tool'])
  })
})

describe('custom tools of Gemini', () => {
  const custom: Tool = { type: 'custom', name: 'sql', format: { type: 'grammar', syntax: 'lark' } }

  it('are functions of one string', () => {
    const { body, changed } = encode({ tools: [custom] })
    expect(body.tools[0].functionDeclarations[0]).toEqual({
      name: 'sql',
      parametersJsonSchema: {
        type: 'object',
        properties: { input: { type: 'string' } },
        required: ['input'],
      },
    })
    expect(changed).toEqual(['adapted tools[0]', 'lossy tools[0].custom.format'])
  })

  it('give back their free text', () => {
    const { choices } = decode(
      answer([{ functionCall: { name: 'sql', args: { input: 'SELECT "1"' }, id: 'x' } }]),
      { tools: [custom] },
    )
    expect(choices[0]?.content).toEqual([
      { type: 'tool-call', id: 'x', name: 'sql', arguments: 'SELECT "1"', custom: true },
    ])
  })

  it('are called again in the history with that text', () => {
    const { body } = encode({
      tools: [custom],
      messages: [
        user('a'),
        {
          role: 'assistant',
          content: [{ type: 'tool-call', id: '1', name: 'sql', arguments: '{"x"', custom: true }],
        },
      ],
    })
    expect(body.contents[1].parts[0].functionCall.args).toEqual({ input: '{"x"' })
  })
})

describe('the answer format of Gemini', () => {
  it.each<[ChatRequest['responseFormat'], object | undefined]>([
    [{ type: 'text' }, undefined],
    [{ type: 'json-object' }, { responseMimeType: 'application/json' }],
    [format, { responseMimeType: 'application/json', responseJsonSchema: schema }],
    [
      { ...format, description: 'a result' },
      {
        responseMimeType: 'application/json',
        responseJsonSchema: { description: 'a result', ...schema },
      },
    ],
  ])('%o is said natively', (responseFormat, config) => {
    const { body, changes } = encode({ ...(responseFormat && { responseFormat }) })
    expect(body.generationConfig).toEqual(config)
    expect(changes).toEqual([])
  })

  it('stands beside tools from Gemini 3 on', () => {
    const { body, changes } = encode({ responseFormat: format, tools: [WEATHER] })
    expect(body.generationConfig).toEqual({
      responseMimeType: 'application/json',
      responseJsonSchema: schema,
    })
    expect(body.tools[0].functionDeclarations).toHaveLength(1)
    expect(changes).toEqual([])
  })
})

describe('a JSON schema beside tools before Gemini 3', () => {
  const fields = { responseFormat: format, tools: [WEATHER] }
  const value = { functionCall: { name: 'tollgate_answer', args: { a: 'x' } } }

  it('is one more function, and one of them has to be called', () => {
    const { body, changed } = encode(fields, OLD)
    expect(body.generationConfig).toBeUndefined()
    expect(body.tools[0].functionDeclarations[1]).toEqual({
      name: 'tollgate_answer',
      description: 'result',
      parametersJsonSchema: schema,
    })
    expect(body.toolConfig).toEqual({ functionCallingConfig: { mode: 'ANY' } })
    expect(changed).toEqual(['adapted response_format'])
  })

  it('comes back as text', () => {
    expect(decode(answer([value]), fields).choices[0]).toEqual({
      index: 0,
      content: [{ type: 'text', text: '{"a":"x"}' }],
      finishReason: 'stop',
      rawFinishReason: 'STOP',
    })
  })

  it('comes back as text in a stream, beside real calls', () => {
    const events = stream([answer([value, { functionCall: { name: 'weather', id: '1' } }])], fields)
    expect(events.slice(1)).toEqual([
      { type: 'text-start', choice: 0, block: 0 },
      { type: 'text-delta', block: 0, text: '{"a":"x"}' },
      { type: 'block-end', block: 0 },
      { type: 'tool-call-start', choice: 0, block: 1, callId: '1', name: 'weather' },
      { type: 'tool-call-delta', block: 1, text: '{}' },
      { type: 'block-end', block: 1 },
      { type: 'finish', choice: 0, reason: 'tool-calls', rawReason: 'STOP' },
      { type: 'end' },
    ])
  })

  it.each<[string, Partial<ChatRequest>, string, object | undefined, number]>([
    [
      'none may be called',
      { toolChoice: { type: 'none' } },
      'adapted tools',
      { responseMimeType: 'application/json', responseJsonSchema: schema },
      0,
    ],
    [
      'one has to be called',
      { toolChoice: { type: 'required' } },
      'adapted response_format',
      undefined,
      1,
    ],
    [
      'any JSON will do',
      { responseFormat: { type: 'json-object' } },
      'lossy response_format',
      undefined,
      1,
    ],
  ])('is settled otherwise where %s', (_, more, change, config, count) => {
    const { body, changed } = encode({ ...fields, ...more }, OLD)
    expect(changed).toEqual([change])
    expect(body.generationConfig).toEqual(config)
    expect(body.tools?.[0].functionDeclarations.length ?? 0).toBe(count)
  })

  it('is refused where it describes no object', () => {
    const responseFormat = { ...format, schema: { type: 'array' } }
    expect(() => encode({ ...fields, responseFormat }, OLD)).toThrow(
      expect.objectContaining({ code: 'unsupported_feature', param: 'response_format' }),
    )
  })
})
