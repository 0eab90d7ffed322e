import type { AudioPart, FilePart, ImagePart, Source } from '#protocol'
import { GatewayError } from '#errors'
import { CACHES, type ChangeLog } from './changes.ts'
import type { Part } from './wire.ts'

export type InputMedia = ImagePart | FilePart | AudioPart

const FILE_TYPES = new Map([
  ['pdf', 'application/pdf'],
  ['txt', 'text/plain'],
  ['md', 'text/markdown'],
  ['csv', 'text/csv'],
  ['json', 'application/json'],
  ['html', 'text/html'],
])

/**
 * @throws GatewayError `unsupported_feature` for a URL: Gemini fetches its own files and
 *   YouTube only
 */
export function mediaPart(part: InputMedia, field: string, baseUrl: string, log: ChangeLog): Part {
  if (part.cache !== undefined) log.adapted(`${field}.cache_control`, CACHES)
  if (part.type === 'audio') {
    const mimeType = part.format === 'pcm16' ? 'audio/pcm' : `audio/${part.format}`
    return { inlineData: { mimeType, data: part.data } }
  }
  if (part.type === 'image') {
    if (part.detail !== undefined && part.detail !== 'auto')
      log.lossy(`${field}.image_url.detail`, 'not supported by google')
    return sourcePart(part.source, field, baseUrl)
  }
  if (part.filename !== undefined)
    log.lossy(`${field}.file.filename`, 'google takes the bytes of a file without its name')
  return sourcePart(part.source, field, baseUrl, part.filename)
}

function sourcePart(source: Source, field: string, baseUrl: string, filename?: string): Part {
  if (source.type === 'base64')
    return { inlineData: { mimeType: knownType(source.mediaType, filename), data: source.data } }

  const uri = source.type === 'id' ? source.id : source.url
  if (/^files\/[\w-]+$/.test(uri)) return { fileData: { fileUri: `${baseUrl}/v1beta/${uri}` } }
  if (isGoogleFile(uri)) return { fileData: { fileUri: uri } }
  throw new GatewayError(
    'unsupported_feature',
    source.type === 'id'
      ? 'google takes files of its own Files API only: `files/...`'
      : 'google does not fetch URLs: send the bytes as a data URL',
    { param: field },
  )
}

/** A declared type says nothing when it is only "bytes"; then the name may tell. */
function knownType(declared: string, filename: string | undefined): string {
  if (declared !== '' && declared !== 'application/octet-stream') return declared
  const extension = filename?.split('.').at(-1)?.toLowerCase() ?? ''
  return FILE_TYPES.get(extension) ?? 'application/octet-stream'
}

/** Files API, Cloud Storage or YouTube: what `fileUri` may name. */
export function isGoogleFile(uri: string): boolean {
  return (
    uri.startsWith('gs://') ||
    /^https:\/\/generativelanguage\.googleapis\.com\/\S*\bfiles\//.test(uri) ||
    /^https:\/\/(www\.|m\.)?(youtube\.com\/(watch|shorts|live|embed)|youtu\.be\/)/.test(uri)
  )
}
