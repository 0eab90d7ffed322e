import type { ChatRequest, JsonObject, JsonValue } from '#protocol'
import type { ChangeLog } from './changes.ts'
import { type GenerateContentRequest, isJsonObject, isObject } from './wire.ts'

/** Members of the request that pass as they are. */
const REQUEST_OPTIONS = new Set(['safetySettings', 'cachedContent'])

/**
 * Members of `generationConfig` that pass as they are. Those our own words stand for are
 * left out: a maximum set past `max_tokens` would be past the budgets as well.
 */
const CONFIG_OPTIONS = new Set([
  'thinkingConfig',
  'responseModalities',
  'speechConfig',
  'imageConfig',
  'mediaResolution',
  'translationConfig',
  'audioTranscriptionConfig',
  'enableEnhancedCivicAnswers',
])

/** Places options are read from, the more particular last; the innermost is Google's own endpoint's. */
const PLACES = [[], ['extra_body'], ['google'], ['extra_body', 'google']] as const

interface Option {
  /** The caller's path. */
  readonly field: string
  /** In camel case: `safety_settings` and `safetySettings` are the same. */
  readonly name: string
  readonly value: JsonValue
}

/** Adds to the body what the caller said in Google's own words. */
export function withOptions(
  body: GenerateContentRequest,
  request: ChatRequest,
  log: ChangeLog,
): GenerateContentRequest {
  const result = { ...body }
  const config: Record<string, unknown> = { ...body.generationConfig }

  for (const option of optionsOf(request.providerOptions)) {
    const { name, field, value } = option
    if (REQUEST_OPTIONS.has(name)) Object.assign(result, { [name]: value })
    else if (CONFIG_OPTIONS.has(name)) setConfig(config, option, log)
    else if (!addTools(result, option, log) && !(name === 'store' && value === false))
      log.lossy(field, 'not supported by google')
  }

  if (serverToolsBesideFunctions(result))
    result.toolConfig = { includeServerSideToolInvocations: true, ...result.toolConfig }
  return Object.keys(config).length === 0 ? result : { ...result, generationConfig: config }
}

function* optionsOf(options: JsonObject): Generator<Option> {
  for (const path of PLACES) {
    const place = at(options, path)
    for (const [key, value] of Object.entries(place)) {
      const field = [...path, key].join('.')
      const name = camelCase(key)
      if (value === null || (isObject(value) && isPlace([...path, key]))) continue
      if (name === 'generationConfig' && isJsonObject(value))
        for (const [member, setting] of Object.entries(value))
          yield { field: `${field}.${member}`, name: camelCase(member), value: setting }
      else if (name === 'modalities') yield { field, name: 'responseModalities', value }
      else yield { field, name, value }
    }
  }
}

function at(options: JsonObject, path: readonly string[]): JsonObject {
  let place = options
  for (const key of path) {
    const inner = place[key]
    place = isJsonObject(inner) ? inner : {}
  }
  return place
}

function isPlace(path: readonly string[]): boolean {
  return PLACES.some((place) => place.join('.') === path.join('.'))
}

function setConfig(
  config: Record<string, unknown>,
  { name, field, value }: Option,
  log: ChangeLog,
): void {
  if (name === 'thinkingConfig' && config[name] !== undefined)
    log.adapted('reasoning_effort', `replaced by ${field}`)
  if (name === 'thinkingConfig' && isObject(value)) config[name] = camelMembers(value)
  else if (name === 'responseModalities' && Array.isArray(value))
    config[name] = value.map(upperCase)
  else config[name] = value
}

/** @returns false for an option that is none of these */
function addTools(
  result: GenerateContentRequest,
  { name, field, value }: Option,
  log: ChangeLog,
): boolean {
  if (name === 'webSearchOptions') {
    result.tools = [...(result.tools ?? []), { googleSearch: {} }]
    log.adapted(field, 'sent as the tool googleSearch, without its options')
    return true
  }
  if (name === 'tools' && Array.isArray(value)) {
    result.tools = [...(result.tools ?? []), ...value.filter(isObject)]
    return true
  }
  if (name === 'toolConfig' && isObject(value)) {
    result.toolConfig = { ...camelMembers(value), ...result.toolConfig }
    return true
  }
  return false
}

/** Gemini 3 wants the flag to mix its own tools with the caller's; earlier models refuse the mix. */
function serverToolsBesideFunctions({ tools = [] }: GenerateContentRequest): boolean {
  return (
    tools.some((tool) => tool.functionDeclarations !== undefined) &&
    tools.some((tool) => tool.functionDeclarations === undefined)
  )
}

function camelMembers(value: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [camelCase(key), member]))
}

function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

/** OpenAI writes modalities small. */
function upperCase(value: unknown): unknown {
  return typeof value === 'string' ? value.toUpperCase() : value
}
