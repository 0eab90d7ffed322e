import type { ChatRequest } from '#protocol'
import type { Draft } from './draft.ts'
import { adapted, lossy } from './draft.ts'
import type { ModelTraits } from './models.ts'
import type { LoweredSchema } from './schema.ts'
import { lowerSchema } from './schema.ts'
import type { MessagesBody } from './wire.ts'

export interface EncodedFormat {
  readonly format?: NonNullable<NonNullable<MessagesBody['output_config']>['format']>
  /** Words for the model, where the API has no switch. */
  readonly instruction?: string
}

const JSON_ONLY = 'Answer with a single JSON value and nothing else: no prose, no code fence.'

export function encodeFormat(
  { responseFormat }: ChatRequest,
  traits: ModelTraits,
  draft: Draft,
): EncodedFormat {
  if (!responseFormat || responseFormat.type === 'text') return {}
  if (responseFormat.type === 'json-object') {
    adapted(draft, 'response_format', 'asked for in words: anthropic has no JSON mode')
    return { instruction: JSON_ONLY.replace('value', 'object') }
  }
  const { description, schema, strict } = responseFormat
  const described =
    description === undefined || 'description' in schema ? schema : { description, ...schema }
  if (traits.jsonSchema) {
    const lowered = lowerSchema(described)
    describeLowering(lowered, 'response_format.json_schema.schema', draft)
    return { format: { type: 'json_schema', schema: lowered.schema } }
  }
  const note = 'asked for in words: this model does not enforce a schema'
  if (strict) lossy(draft, 'response_format', note)
  else adapted(draft, 'response_format', note)
  return { instruction: `${JSON_ONLY} It must match this schema:\n${JSON.stringify(described)}` }
}

/** Reports what lowering a schema took. */
export function describeLowering(lowered: LoweredSchema, field: string, draft: Draft): void {
  if (lowered.closed) adapted(draft, field, 'additionalProperties: false added')
  if (lowered.described.length > 0) {
    const keywords = lowered.described.join(', ')
    adapted(draft, field, `told to the model, not enforced: ${keywords}`)
  }
  if (lowered.restricted.length > 0) {
    lossy(draft, field, `no additional properties: ${lowered.restricted.join(', ')}`)
  }
}
