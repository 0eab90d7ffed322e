import { GatewayError } from '#errors'
import type { AudioPart, FilePart, ImagePart, TextPart } from '#protocol'
import type { Draft } from './draft.ts'
import { adapted, lossy, mark } from './draft.ts'
import type { Base64ImageSource, ContentBlockParam, TextBlockParam } from './wire.ts'

/** The block types both a user turn and a tool result may hold. */
export type UserBlock = Extract<ContentBlockParam, { type: 'text' | 'image' | 'document' }>
type ImageBlock = Extract<ContentBlockParam, { type: 'image' }>
type DocumentBlock = Extract<ContentBlockParam, { type: 'document' }>

const IMAGE_TYPES: Readonly<Record<string, Base64ImageSource['media_type']>> = {
  'image/jpeg': 'image/jpeg',
  'image/jpg': 'image/jpeg',
  'image/png': 'image/png',
  'image/gif': 'image/gif',
  'image/webp': 'image/webp',
}

/** Files by id were opened with this; hosts that have made it general still accept it. */
const FILES_BETA = 'files-api-2025-04-14'

const LONGEST_TITLE = 500

/**
 * A part as a block; `undefined` for text without a single visible character, which the
 * provider refuses.
 *
 * @throws GatewayError `unsupported_feature` for what the Messages API has no block for
 */
export function userBlock(
  part: TextPart | ImagePart | FilePart | AudioPart,
  field: string,
  draft: Draft,
): UserBlock | undefined {
  if (part.type === 'text') return textBlock(part, field, draft)
  if (part.type === 'audio') throw unsupported('Anthropic takes no audio', field)
  const block =
    part.type === 'image' ? imageBlock(part, field, draft) : fileBlock(part, field, draft)
  mark(draft, block, part.cache, field)
  return block
}

export function textBlock(part: TextPart, field: string, draft: Draft): TextBlockParam | undefined {
  if (part.text.trim() === '') {
    if (part.text !== '') adapted(draft, field, 'left out: anthropic refuses blank text')
    return undefined
  }
  const block: TextBlockParam = { type: 'text', text: part.text }
  mark(draft, block, part.cache, field)
  return block
}

function imageBlock({ source, detail }: ImagePart, field: string, draft: Draft): ImageBlock {
  if (detail !== undefined && detail !== 'auto') {
    lossy(draft, `${field}.detail`, 'not supported by anthropic')
  }
  if (source.type === 'url') return { type: 'image', source: { type: 'url', url: source.url } }
  if (source.type === 'id') {
    draft.betas.add(FILES_BETA)
    return { type: 'image', source: { type: 'file', file_id: source.id } }
  }
  const mediaType = IMAGE_TYPES[source.mediaType.toLowerCase()]
  if (mediaType === undefined) {
    throw unsupported(
      `Anthropic takes jpeg, png, gif and webp images, not ${source.mediaType}`,
      field,
    )
  }
  return {
    type: 'image',
    source: { type: 'base64', media_type: mediaType, data: source.data },
  }
}

function fileBlock(part: FilePart, field: string, draft: Draft): DocumentBlock | ImageBlock {
  const { source, filename } = part
  const title = filename ? { title: filename.slice(0, LONGEST_TITLE) } : {}
  if (source.type === 'url') {
    return { type: 'document', source: { type: 'url', url: source.url }, ...title }
  }
  if (source.type === 'id') {
    draft.betas.add(FILES_BETA)
    return { type: 'document', source: { type: 'file', file_id: source.id }, ...title }
  }
  const mediaType = source.mediaType.toLowerCase().split(';')[0]?.trim() ?? ''
  if (mediaType === 'application/pdf') {
    return {
      type: 'document',
      source: { type: 'base64', media_type: mediaType, data: source.data },
      ...title,
    }
  }
  if (IMAGE_TYPES[mediaType] !== undefined) {
    return imageBlock({ type: 'image', source: { ...source, mediaType } }, field, draft)
  }
  if (!isText(mediaType)) {
    throw unsupported(`Anthropic takes PDF and text files, not ${source.mediaType}`, field)
  }
  if (mediaType !== 'text/plain') adapted(draft, field, `${mediaType} sent as plain text`)
  return {
    type: 'document',
    source: {
      type: 'text',
      media_type: 'text/plain',
      data: Buffer.from(source.data, 'base64').toString('utf8'),
    },
    ...title,
  }
}

const TEXT_TYPES = new Set([
  'application/json',
  'application/xml',
  'application/yaml',
  'application/javascript',
])

function isText(mediaType: string): boolean {
  return mediaType.startsWith('text/') || TEXT_TYPES.has(mediaType)
}

function unsupported(message: string, param: string): GatewayError {
  return new GatewayError('unsupported_feature', message, { param })
}
