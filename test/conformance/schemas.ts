import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import type { ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { parse } from 'yaml'
import { fields, isFields, short, text } from './json.ts'

/** Official schemas, and what of them is asked. */
const PLACES = {
  'anthropic-request': ['anthropic.json', 'CreateMessageParams'],
  'anthropic-beta-request': ['anthropic.json', 'BetaCreateMessageParams'],
  'google-request': ['google.json', 'GenerateContentRequest'],
  'mistral-request': ['mistral.yaml', 'ChatCompletionRequest'],
  'openai-answer': ['openai.json', 'CreateChatCompletionResponse'],
  'openai-chunk': ['openai.json', 'CreateChatCompletionStreamResponse'],
} as const

export type SchemaName = keyof typeof PLACES

export interface Schemas {
  /** What a body has against it, in a few words; nothing where no schemas were given. */
  faults(schema: SchemaName, body: unknown): readonly string[]
}

export const NO_SCHEMAS: Schemas = { faults: () => [] }

/** @param folder with the providers' published OpenAPI pages */
export function readSchemas(folder: string): Schemas {
  const documents = new Map<string, Ajv2020>()
  const compiled = new Map<SchemaName, ValidateFunction>()

  function validator(name: SchemaName): ValidateFunction {
    const known = compiled.get(name)
    if (known !== undefined) return known
    const [file, schema] = PLACES[name]
    let ajv = documents.get(file)
    if (ajv === undefined) {
      ajv = load(join(folder, file), file)
      documents.set(file, ajv)
    }
    const validate = ajv.compile({ $ref: `${file}#/components/schemas/${schema}` })
    compiled.set(name, validate)
    return validate
  }

  return {
    faults(name, body) {
      const validate = validator(name)
      if (validate(body) === true) return []
      const errors = (validate.errors ?? []).map(
        ({ instancePath, message, params }) => `${instancePath} ${message} ${short(params)}`,
      )
      return [`${name}: ${[...new Set(errors)].slice(0, 4).join('; ')}`]
    },
  }
}

function load(path: string, id: string): Ajv2020 {
  const page = readFileSync(path, 'utf8')
  const document = fields(path.endsWith('.json') ? JSON.parse(page) : parse(page))
  const { components } = document
  modernise(components, text(document['openapi']).startsWith('3.0'))
  const ajv = new Ajv2020({ strict: false, allErrors: true, logger: false })
  addFormats.default(ajv)
  ajv.addSchema({ $id: id, components })
  return ajv
}

/**
 * `nullable` in the words of OpenAPI 3.1, which pages of 3.1 hold as well; and in pages of 3.0,
 * which close no object, no members that are not named.
 */
function modernise(node: unknown, isOld: boolean): void {
  if (Array.isArray(node)) for (const each of node) modernise(each, isOld)
  if (!isFields(node)) return
  for (const each of Object.values(node)) modernise(each, isOld)
  const schema = node as Record<string, unknown>
  const isClosed = isOld && schema['type'] === 'object' && isFields(schema['properties'])
  if (isClosed) schema['additionalProperties'] ??= false
  if (typeof schema['nullable'] !== 'boolean') return
  const { nullable, ...rest } = schema
  for (const name of Object.keys(schema)) delete schema[name]
  Object.assign(schema, nullable === true ? { anyOf: [rest, { type: 'null' }] } : rest)
}
