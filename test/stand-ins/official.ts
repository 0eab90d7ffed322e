import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'

/**
 * A folder of the providers' published OpenAPI specifications: `openai.json`, `anthropic.json`,
 * `google.json`, `mistral.yaml`. Where it is given, requests are held against them as well.
 */
const FOLDER = process.env['TOLLGATE_SPECS']

const schemas = new Map<string, z.ZodType>()
const documents = new Map<string, Definitions>()

/** What the provider's specification has against a body; nothing where no specification is given. */
export function officialFault(
  { file, schema }: { readonly file: string; readonly schema: string },
  body: unknown,
): string | undefined {
  if (FOLDER === undefined) return undefined
  const name = `${file}#${schema}`
  let compiled = schemas.get(name)
  if (compiled === undefined) {
    compiled = compile(join(FOLDER, file), schema)
    schemas.set(name, compiled)
  }
  const read = compiled.safeParse(body)
  return read.success ? undefined : `${name}: ${z.prettifyError(read.error)}`
}

type Json = { [name: string]: unknown }
type Definitions = Readonly<Record<string, Json>>

function compile(path: string, schema: string): z.ZodType {
  let $defs = documents.get(path)
  if ($defs === undefined) {
    const text = readFileSync(path, 'utf8').replaceAll('#/components/schemas/', '#/$defs/')
    const document = parse(text) as { components: { schemas: Definitions } }
    $defs = document.components.schemas
    close($defs)
    documents.set(path, $defs)
  }
  return z.fromJSONSchema({ $ref: `#/$defs/${schema}`, $defs })
}

/** Objects that say nothing of further members get none, except where several are added up. */
function close($defs: Definitions): void {
  const addedUp = new Set<unknown>()
  walk(Object.values($defs), (node) => {
    for (const part of list(node['allOf'])) {
      addedUp.add(part)
      const { $ref } = part
      if (typeof $ref === 'string') addedUp.add($defs[$ref.slice('#/$defs/'.length)])
    }
    if (node['allOf'] !== undefined) addedUp.add(node)
  })
  walk(Object.values($defs), (node) => {
    if (isJson(node['properties']) && !('additionalProperties' in node) && !addedUp.has(node)) {
      node['additionalProperties'] = false
    }
  })
}

/** Visits every schema; a map of members is none, whatever its members are called. */
function walk(value: unknown, visit: (node: Json) => void, isMap = false): void {
  if (Array.isArray(value)) for (const item of value) walk(item, visit)
  else if (isJson(value)) {
    if (!isMap) visit(value)
    for (const [name, item] of Object.entries(value)) {
      walk(item, visit, !isMap && name === 'properties')
    }
  }
}

function list(value: unknown): readonly Json[] {
  return Array.isArray(value) ? value.filter(isJson) : []
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
