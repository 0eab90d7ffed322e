import type { Kind } from './explained.ts'
import { fields, isFields, list, objects, parsed, spoken, text } from './json.ts'
import type { Fields } from './json.ts'

/**
 * Gemini's requests in OpenAI's words, and in a form of their own in which two requests that mean
 * the same are equal.
 *
 * @see https://ai.google.dev/api/generate-content
 */

/** Members whose own members are somebody's data, with names of their own. */
const OPAQUE = new Set(['args', 'response', 'properties', 'schema', 'defs'])
const SCHEMAS = new Set([
  'parameters',
  'parametersJsonSchema',
  'responseSchema',
  'responseJsonSchema',
])

/** The one spelling of what may be written in two: `inline_data` as `inlineData`. */
function respelled(value: unknown): unknown {
  if (Array.isArray(value)) return list(value).map(respelled)
  if (!isFields(value)) return value
  return Object.fromEntries(
    Object.entries(spoken(value)).map(([name, member]) => {
      const camel = name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
      const isData = OPAQUE.has(camel) || SCHEMAS.has(camel)
      return [camel, isData ? member : respelled(member)]
    }),
  )
}

const PARTS = new Set(['text', 'inlineData', 'fileData', 'functionCall', 'functionResponse'])

/** The body in its one spelling, without what an OpenAI request cannot say. */
export function sayable(body: Fields, unsaid: Set<Kind>): Fields {
  const plain = fields(respelled(body))
  const config = fields(plain['generationConfig'])
  const contents = objects(plain['contents']).flatMap(({ role, parts }) => {
    const kept = partsIn(parts).flatMap((part) => {
      const { videoMetadata, mediaResolution, ...rest } = part
      if (isForeignLink(text(fields(part['fileData'])['fileUri']))) {
        unsaid.add('links')
        return []
      }
      if (videoMetadata !== undefined || mediaResolution !== undefined) unsaid.add('media-details')
      if (Object.keys(rest).some((name) => PARTS.has(name))) return [resealed(rest)]
      unsaid.add('server-turns')
      return []
    })
    return kept.length === 0 ? [] : [{ role: role === 'model' ? role : 'user', parts: kept }]
  })
  const { labels, ...rest } = plain
  if (labels !== undefined) unsaid.add('own-options')
  return { ...rest, contents: withIds(contents), generationConfig: config }
}

/** One part may stand without a list. */
function partsIn(parts: unknown): readonly Fields[] {
  return isFields(parts) ? [parts] : objects(parts)
}

/** Not one of the provider's own files or YouTube's, which it reads itself. */
function isForeignLink(uri: string): boolean {
  return /^https?:/.test(uri) && !/generativelanguage|youtu\.?be/.test(uri)
}

/** Google writes and reads one alphabet of base64, and reads another that some clients write. */
function resealed({ thoughtSignature: seal, ...part }: Fields): Fields {
  if (typeof seal !== 'string') return part
  return { ...part, thoughtSignature: seal.replaceAll('-', '+').replaceAll('_', '/') }
}

/** Calls and results without ids are matched by name and order; with ids of ours they stay so. */
function withIds(contents: readonly Fields[]): Fields[] {
  let calls = 0
  const waiting: { readonly name: string; readonly id: string }[] = []
  return contents.map((content) => ({
    ...content,
    parts: objects(content['parts']).map((part) => {
      const { functionCall: call, functionResponse: result } = part
      if (isFields(call)) {
        const id = text(call['id']) || `call_${calls++}`
        waiting.push({ name: text(call['name']), id })
        return { ...part, functionCall: { ...call, id } }
      }
      if (!isFields(result)) return part
      const at = waiting.findIndex(
        ({ name, id }) => id === result['id'] || (!result['id'] && name === result['name']),
      )
      const [call_] = waiting.splice(at, at < 0 ? 0 : 1)
      return { ...part, functionResponse: { ...result, id: call_?.id ?? result['id'] } }
    }),
  }))
}

/** A request that {@link sayable} has been through, as a user of OpenAI's SDK would write it. */
export function toOpenAI(body: Fields, model: string, stream: boolean): Fields {
  const config = fields(body['generationConfig'])
  const declared = objects(body['tools']).flatMap(({ functionDeclarations: each }) => objects(each))
  const others = objects(body['tools']).filter((tool) => !('functionDeclarations' in tool))
  const calling = fields(fields(body['toolConfig'])['functionCallingConfig'])
  const mode = text(calling['mode']).toUpperCase()
  const { includeServerSideToolInvocations: served } = fields(body['toolConfig'])
  const system = partsIn(fields(body['systemInstruction'])['parts'])
  const schema = config['responseJsonSchema'] ?? config['responseSchema']
  const isJson = config['responseMimeType'] === 'application/json'
  return {
    model,
    messages: [
      ...(system.length > 0 ? [{ role: 'system', content: system.map(toPart) }] : []),
      ...objects(body['contents']).flatMap(toMessages),
    ],
    ...(stream && { stream: true, stream_options: { include_usage: true } }),
    max_tokens: config['maxOutputTokens'],
    temperature: config['temperature'],
    top_p: config['topP'],
    top_k: config['topK'],
    stop: config['stopSequences'],
    seed: config['seed'],
    n: config['candidateCount'],
    presence_penalty: config['presencePenalty'],
    frequency_penalty: config['frequencyPenalty'],
    ...(config['responseLogprobs'] === true && {
      logprobs: true,
      top_logprobs: config['logprobs'],
    }),
    ...(declared.length > 0 && {
      tools: declared.map((tool) => toTool(tool, mode === 'VALIDATED')),
      tool_choice: toChoice(mode, list(calling['allowedFunctionNames']).map(text)),
    }),
    ...(isJson && {
      response_format:
        schema === undefined
          ? { type: 'json_object' }
          : {
              type: 'json_schema',
              json_schema: { name: 'response', schema: jsonSchema(schema) },
            },
    }),
    ...toReasoning(fields(config['thinkingConfig'])),
    service_tier: body['serviceTier'],
    safetySettings: body['safetySettings'],
    cachedContent: body['cachedContent'],
    google: {
      ...(others.length > 0 && { tools: others }),
      ...(served !== undefined && { toolConfig: { includeServerSideToolInvocations: served } }),
      generationConfig: Object.fromEntries(
        ['responseModalities', 'speechConfig', 'imageConfig', 'mediaResolution'].flatMap((name) =>
          config[name] === undefined ? [] : [[name, config[name]]],
        ),
      ),
    },
  }
}

function toTool({ name, description, parameters, parametersJsonSchema }: Fields, strict: boolean) {
  const schema = parametersJsonSchema ?? parameters
  return {
    type: 'function',
    function: {
      name,
      description,
      ...(schema !== undefined && { parameters: jsonSchema(schema) }),
      ...(strict && { strict }),
    },
  }
}

function toChoice(mode: string, names: readonly string[]): unknown {
  const [only] = names
  if (mode === 'NONE') return 'none'
  if (mode === 'ANY' && names.length === 1) return { type: 'function', function: { name: only } }
  if (names.length > 0 && mode !== 'AUTO') {
    const tools = names.map((name) => ({ type: 'function', function: { name } }))
    return {
      type: 'allowed_tools',
      allowed_tools: { mode: mode === 'ANY' ? 'required' : 'auto', tools },
    }
  }
  if (mode === 'ANY') return 'required'
  return mode === 'AUTO' ? 'auto' : undefined
}

/** Thoughts that are shown are OpenAI's reasoning; anything else is said in Google's own words. */
function toReasoning(thinking: Fields): Fields {
  const { includeThoughts, thinkingBudget, thinkingLevel } = thinking
  if (Object.keys(thinking).length === 0) return {}
  if (thinkingBudget === 0) return { reasoning_effort: 'none' }
  if (includeThoughts === true && typeof thinkingBudget === 'number' && thinkingBudget > 0) {
    return { reasoning: { max_tokens: thinkingBudget } }
  }
  if (includeThoughts === true && typeof thinkingLevel === 'string') {
    return { reasoning_effort: thinkingLevel.toLowerCase() }
  }
  return { thinkingConfig: thinking }
}

function toMessages({ role, parts }: Fields): Fields[] {
  const said = objects(parts)
  if (role === 'model') return [assistantMessage(said)]
  const results = said.flatMap(({ functionResponse: result }) =>
    isFields(result) ? [toToolMessage(result)] : [],
  )
  const rest = said.filter((part) => !('functionResponse' in part))
  return [...results, ...(rest.length > 0 ? [{ role: 'user', content: rest.map(toPart) }] : [])]
}

function assistantMessage(parts: readonly Fields[]): Fields {
  const thoughts = parts.filter(({ thought }) => thought === true)
  const calls = parts.filter((part) => 'functionCall' in part)
  const words = parts.filter((part) => !thoughts.includes(part) && !calls.includes(part))
  return {
    role: 'assistant',
    content: words.length === 0 ? null : words.map(toPart),
    ...(thoughts.length > 0 && {
      reasoning_details: thoughts.map((part, index) => ({
        type: 'reasoning.text',
        text: part['text'],
        // As the gateway would have given it to the caller.
        ...(typeof part['thoughtSignature'] === 'string' && {
          signature: `google:${part['thoughtSignature']}`,
        }),
        index,
      })),
    }),
    ...(calls.length > 0 && {
      tool_calls: calls.map(({ functionCall, thoughtSignature }) => {
        const { id, name, args } = fields(functionCall)
        return {
          id,
          type: 'function',
          function: { name, arguments: JSON.stringify(args ?? {}) },
          ...signed(thoughtSignature),
        }
      }),
    }),
  }
}

function signed(signature: unknown): Fields {
  if (typeof signature !== 'string') return {}
  return { extra_content: { google: { thought_signature: signature } } }
}

function toToolMessage({ id, response, parts }: Fields): Fields {
  const { words, failed } = resultOf(response)
  const media = objects(parts).map(toPart)
  return {
    role: 'tool',
    tool_call_id: id,
    content: media.length === 0 ? words : [{ type: 'text', text: words }, ...media],
    ...(failed && { is_error: true }),
  }
}

/** A result is an object here and text at OpenAI; where it holds one text, that is the result. */
function resultOf(response: unknown): { readonly words: string; readonly failed: boolean } {
  const result = fields(response)
  const [[name, value] = ['', undefined], ...more] = Object.entries(result)
  const only = more.length === 0 && typeof value === 'string' && KEYS.has(name) ? value : undefined
  return { words: only ?? JSON.stringify(result), failed: name === 'error' && only !== undefined }
}

const KEYS = new Set(['output', 'result', 'return_value', 'error'])

function toPart(part: Fields): Fields {
  const { inlineData, fileData, thoughtSignature } = part
  if (isFields(inlineData)) return mediaPart(inlineData)
  if (isFields(fileData)) return { type: 'file', file: { file_url: fileData['fileUri'] } }
  return { type: 'text', text: part['text'], ...signed(thoughtSignature) }
}

function mediaPart({ mimeType, data }: Fields): Fields {
  const type = text(mimeType)
  // Both alphabets of base64 are read by Google; OpenAI has one.
  const bytes = text(data).replaceAll('-', '+').replaceAll('_', '/')
  if (type.startsWith('audio/')) {
    return { type: 'input_audio', input_audio: { data: bytes, format: type.slice(6) } }
  }
  const url = `data:${type};base64,${bytes}`
  if (type.startsWith('image/')) return { type: 'image_url', image_url: { url } }
  return { type: 'file', file: { file_data: url } }
}

/** Google's older schemas have types in capitals, and `nullable`. */
function jsonSchema(schema: unknown): unknown {
  if (Array.isArray(schema)) return list(schema).map(jsonSchema)
  if (!isFields(schema)) return schema
  const { nullable, ...rest } = schema
  const entries = Object.entries(rest).map(([name, value]): [string, unknown] => {
    if (name === 'type' && typeof value === 'string') {
      const type = value.toLowerCase()
      return [name, nullable === true ? [type, 'null'] : type]
    }
    if (name === 'propertyOrdering') return [name, value]
    if (/^(min|max)(Items|Properties|Length)$/.test(name)) return [name, Number(value)]
    return [name, name === 'enum' || name === 'required' ? value : jsonSchema(value)]
  })
  return Object.fromEntries(entries)
}

/** By member of the form below, the caller's fields that a change of it may be declared under. */
export const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  maxOutputTokens: ['max_tokens'],
  seed: ['seed'],
  thinking: ['reasoning_effort', 'reasoning', 'thinkingConfig'],
  contents: ['messages'],
  system: ['messages'],
  declarations: ['tools', 'response_format'],
  calling: ['tool_choice', 'tools', 'response_format'],
  format: ['response_format'],
  tools: ['google'],
  serviceTier: ['service_tier'],
}

const SETTINGS = [
  'maxOutputTokens',
  'temperature',
  'topP',
  'topK',
  'stopSequences',
  'seed',
  'candidateCount',
  'presencePenalty',
  'frequencyPenalty',
  'responseLogprobs',
  'logprobs',
  'responseModalities',
  'speechConfig',
  'imageConfig',
  'mediaResolution',
]

/** The form in which two requests that mean the same are equal. */
export function canonical(body: Fields): Fields {
  const plain = fields(respelled(body))
  const config = fields(plain['generationConfig'])
  const tools = objects(plain['tools'])
  const declarations = tools.flatMap(({ functionDeclarations: each }) => objects(each))
  const toolConfig = fields(plain['toolConfig'])
  const calling = fields(toolConfig['functionCallingConfig'])
  const { includeThoughts, thinkingBudget, thinkingLevel } = fields(config['thinkingConfig'])
  return {
    ...Object.fromEntries(SETTINGS.map((name) => [name, config[name]])),
    format: {
      type: config['responseMimeType'] === 'text/plain' ? undefined : config['responseMimeType'],
      schema: jsonSchema(config['responseJsonSchema'] ?? config['responseSchema']),
    },
    thinking: {
      shown: includeThoughts === true,
      budget: thinkingBudget,
      level: text(thinkingLevel).toUpperCase(),
    },
    declarations: declarations.map(({ name, description, ...schemas }) => ({
      name,
      description,
      schema: jsonSchema(schemas['parametersJsonSchema'] ?? schemas['parameters']),
    })),
    tools: tools.filter((tool) => !('functionDeclarations' in tool)),
    // AUTO is what the absence of a mode means.
    calling: {
      mode: text(calling['mode']).toUpperCase() || (declarations.length > 0 ? 'AUTO' : ''),
      names: list(calling['allowedFunctionNames']),
    },
    served: toolConfig['includeServerSideToolInvocations'],
    system: partsIn(fields(plain['systemInstruction'])['parts']),
    contents: contentsOf(plain),
    safetySettings: plain['safetySettings'],
    cachedContent: plain['cachedContent'],
    serviceTier: plain['serviceTier'],
  }
}

function contentsOf(body: Fields): Fields[] {
  const merged: { role: unknown; parts: Fields[] }[] = []
  for (const { role, parts } of objects(body['contents'])) {
    const last = merged.at(-1)
    // An empty text says nothing, unless it carries a seal.
    const written = objects(parts)
      .map(canonicalPart)
      .filter((part) => part['text'] !== '' || 'thoughtSignature' in part)
    if (written.length === 0) continue
    if (last !== undefined && last.role === role) last.parts.push(...written)
    else merged.push({ role, parts: written })
  }
  return merged.map(({ role, parts }) => ({ role, parts: parts.toSorted(byRank) }))
}

/** An OpenAI message keeps thoughts, words and calls apart; results stand before what follows. */
function byRank(one: Fields, other: Fields): number {
  const rank = (part: Fields): number =>
    part['thought'] === true || 'result' in part ? 0 : 'functionCall' in part ? 2 : 1
  return rank(one) - rank(other)
}

function canonicalPart(part: Fields): Fields {
  const { functionResponse: result, inlineData, fileData } = part
  if (isFields(result)) {
    const { words, failed } = resultOf(result['response'])
    const { name, id, parts } = result
    return { result: { name, id, words: parsed(words), failed, parts: objects(parts).length } }
  }
  if (isFields(inlineData)) {
    const bytes = Buffer.from(text(inlineData['data']), 'base64').toString('base64')
    return { inlineData: { mimeType: inlineData['mimeType'], bytes } }
  }
  // The type of a file is known to who holds it.
  if (isFields(fileData)) return { file: fileData['fileUri'] }
  const call = part['functionCall']
  return isFields(call) ? { ...part, functionCall: { ...call, args: call['args'] ?? {} } } : part
}
