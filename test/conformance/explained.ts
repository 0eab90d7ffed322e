/**
 * What a replay may end in besides success, each with its reason.
 *
 * By kind only: no recording is named here. A finding of any other kind is a failure.
 */
export const EXPLAINED = {
  // Endpoints that are not served yet: nothing of the recording is replayed.
  batch: 'batches are not served yet',
  files: 'upload of files and file stores is not served',
  'count-tokens': 'counting tokens is not served yet',
  responses: 'the Responses API is not served yet',
  'media-generation': 'generation of images, video and speech is not served',
  transcription: 'transcription of speech is not served',
  ocr: 'OCR is not served',
  rerank: 'reranking is not served',
  moderation: 'moderation is not served',
  'legacy-completions': 'completions without chat are not served',
  'ollama-native': "Ollama is asked by its OpenAI-compatible API; this is Ollama's own",
  'other-wire': "a provider with its own API is asked by that; this is its imitation of OpenAI's",
  'other-endpoint': 'neither chat nor embeddings',

  // Said in a provider's own wire only: left out of the request that is replayed.
  'server-tools': "tools that the provider runs itself have no place in OpenAI's request",
  'server-turns': "earlier calls of the provider's own tools have no place in OpenAI's messages",
  'deferred-tools': "tools loaded on demand have no place in OpenAI's request",
  'history-citations': 'citations of earlier answers are not returned to the provider',
  'document-citations': 'asking for citations of documents has no field at OpenAI',
  'document-blocks':
    "documents and search results made of blocks have no place in OpenAI's messages",
  links: 'links that the gateway would have to fetch are left out, as nothing is fetched here',
  'no-model': 'a request that names no model cannot be routed',
  'image-by-id': 'an image by file id has no place in an OpenAI message',
  'media-details': 'clips and resolutions of media have no field at OpenAI',
  'own-options': "options of the provider's own API that OpenAI's has no field for",
  'media-embeddings': 'OpenAI embeds text only',
  prefill: 'whether the last message is to be continued is not said at OpenAI',

  // Carried otherwise, and said to be.
  declared: 'named in x-tollgate-translation-changes',
  unpaired: 'results of calls that nobody made are refused, as most providers do',
  refused: 'the gateway refused the request, naming the field that the provider does not take',

  // Read from the answer, where OpenAI's has no place of its own.
  'withheld-calls': 'calls of tools that nobody offered are not handed on',
  'given-up':
    "an answer that its provider gave up on ends in `error`, a reason that OpenAI's schema lacks",
  'code-as-text': 'code that ran at the provider is shown in the text',
} as const

export type Kind = keyof typeof EXPLAINED

/** Gathers what a replay shows. */
export interface Findings {
  readonly failures: string[]
  readonly explained: Set<Kind>
}

export function newFindings(): Findings {
  return { failures: [], explained: new Set() }
}

const PATHS: readonly (readonly [RegExp, Kind])[] = [
  [/batch(es)?(\/|$)/, 'batch'],
  [/count_?tokens$/i, 'count-tokens'],
  [/(^|\/)files(\/|$)|fileSearchStores|\/upload\//, 'files'],
  [/\/responses(\/|$)/, 'responses'],
  [/\/(images?|videos?|audio\/speech)(\/|$)|:predict/, 'media-generation'],
  [/\/audio\/(transcriptions|translations)$/, 'transcription'],
  [/\/ocr$/, 'ocr'],
  [/\/rerank$/, 'rerank'],
  [/\/moderations$/, 'moderation'],
  [/^\/api\/(generate|chat|embed|embeddings|show|tags)$/, 'ollama-native'],
  [/\/chat\/completions$/, 'other-wire'],
  [/(?<!chat)\/complet(e|ions)$/, 'legacy-completions'],
]

/** Why a path is not replayed at all. */
export function unserved(path: string): Kind {
  return PATHS.find(([pattern]) => pattern.test(path))?.[1] ?? 'other-endpoint'
}
