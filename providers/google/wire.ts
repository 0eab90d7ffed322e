import type {
  CitationSource,
  CodeExecutionResult,
  ExecutableCode,
  FileData,
  FunctionCallingMode,
  FunctionDeclaration as SdkFunctionDeclaration,
  GenerationConfig as SdkGenerationConfig,
  GenerativeContentBlob,
  GroundingSupportSegment,
  UsageMetadata as SdkUsageMetadata,
} from '@google/generative-ai'
import type { JsonObject, JsonValue } from '#protocol'

/*
 * The wire of https://ai.google.dev/api/generate-content. The SDK's types stop in 2025;
 * what came later is added here. Everything in an answer is optional: the API leaves out
 * what is empty.
 */

export interface GenerateContentRequest {
  contents: Content[]
  systemInstruction?: { parts: Part[] }
  tools?: Tool[]
  toolConfig?: ToolConfig
  generationConfig?: GenerationConfig
  serviceTier?: string
  safetySettings?: JsonValue
  cachedContent?: JsonValue
}

export interface Content {
  role: 'user' | 'model'
  parts: Part[]
}

/** One of `text`, `inlineData`, ... is set, beside the flags. */
export interface Part {
  text?: string
  /** The text is a summary of the model's thoughts. */
  thought?: boolean
  /** Opaque base64; has to come back on the very part it came with. */
  thoughtSignature?: string
  inlineData?: GenerativeContentBlob
  fileData?: Partial<FileData> & { fileUri: string }
  functionCall?: FunctionCall
  functionResponse?: FunctionResponse
  executableCode?: ExecutableCode
  codeExecutionResult?: CodeExecutionResult
}

export interface FunctionCall {
  /** Absent on pieces of a call whose arguments are streamed. */
  name?: string
  args?: JsonObject
  /** Absent on most calls before 2026. */
  id?: string
  /** With streamed arguments: more pieces of this call follow. */
  willContinue?: boolean
  partialArgs?: PartialArg[]
}

/** One value, or a piece of a string, at a place in the arguments. */
export interface PartialArg {
  /** Such as `$.operations[0].action`. */
  jsonPath?: string
  stringValue?: string
  numberValue?: number
  boolValue?: boolean
  nullValue?: unknown
  willContinue?: boolean
}

export interface FunctionResponse {
  name: string
  id?: string
  response: JsonObject
  /** Gemini 3 and later. */
  parts?: { inlineData: GenerativeContentBlob }[]
}

export interface Tool {
  functionDeclarations?: FunctionDeclaration[]
  [serverTool: string]: unknown
}

export interface FunctionDeclaration extends Omit<SdkFunctionDeclaration, 'parameters'> {
  parametersJsonSchema?: JsonObject
}

export interface ToolConfig {
  functionCallingConfig?: {
    mode: `${Exclude<FunctionCallingMode, 'MODE_UNSPECIFIED'>}` | 'VALIDATED'
    allowedFunctionNames?: string[]
  }
  [option: string]: unknown
}

export interface GenerationConfig extends Omit<SdkGenerationConfig, 'responseSchema'> {
  responseJsonSchema?: JsonObject
  seed?: number
  thinkingConfig?: ThinkingConfig
  [option: string]: unknown
}

export interface ThinkingConfig {
  includeThoughts?: boolean
  /** Tokens; up to Gemini 2.5. */
  thinkingBudget?: number
  /** From Gemini 3 on; an error on earlier models. */
  thinkingLevel?: 'MINIMAL' | 'LOW' | 'MEDIUM' | 'HIGH'
}

/** A whole answer, or one frame of a stream. */
export interface Answer {
  candidates?: Candidate[]
  promptFeedback?: { blockReason?: string }
  usageMetadata?: UsageMetadata
  modelVersion?: string
  responseId?: string
  /** RFC 3339; Vertex only. */
  createTime?: string
  /** Instead of all else. */
  error?: WireError
}

export interface Candidate {
  index?: number
  content?: { role?: string; parts?: Part[] }
  finishReason?: string
  groundingMetadata?: GroundingMetadata
  citationMetadata?: { citationSources?: CitationSource[] }
  logprobsResult?: LogprobsResult
}

export interface GroundingMetadata {
  groundingChunks?: GroundingChunk[]
  groundingSupports?: GroundingSupport[]
  webSearchQueries?: string[]
}

export interface GroundingChunk {
  web?: Source
  retrievedContext?: Source
  maps?: Source
}

interface Source {
  uri?: string
  title?: string
}

export interface GroundingSupport {
  /** Offsets are bytes of UTF-8. */
  segment?: GroundingSupportSegment
  groundingChunkIndices?: number[]
}

export interface LogprobsResult {
  chosenCandidates?: TokenLogprob[]
  topCandidates?: { candidates?: TokenLogprob[] }[]
}

export interface TokenLogprob {
  token?: string
  logProbability?: number
}

export interface UsageMetadata extends Partial<SdkUsageMetadata> {
  thoughtsTokenCount?: number
  toolUsePromptTokenCount?: number
  promptTokensDetails?: ModalityCount[]
  cacheTokensDetails?: ModalityCount[]
  toolUsePromptTokensDetails?: ModalityCount[]
  candidatesTokensDetails?: ModalityCount[]
  serviceTier?: string
}

export interface ModalityCount {
  /** `TEXT`, `IMAGE`, `VIDEO`, `AUDIO` or `DOCUMENT`. */
  modality?: string
  tokenCount?: number
}

export interface WireError {
  code?: number
  message?: string
  /** Such as `RESOURCE_EXHAUSTED`. */
  status?: string
  details?: ErrorDetail[]
}

/** Of several kinds, told apart by `@type`; only the members read here. */
export interface ErrorDetail {
  '@type'?: string
  reason?: string
  /** Such as `34.4s`. */
  retryDelay?: string
  violations?: { quotaId?: string }[]
  fieldViolations?: { field?: string }[]
}

/** The members of what should be a list; the API leaves out empty ones. */
export function list<T>(value: readonly T[] | undefined): readonly T[] {
  if (!Array.isArray(value)) return []
  return value.includes(null) ? value.filter((member) => member !== null) : value
}

/** For values out of `JSON.parse`, which hold JSON only. */
export function isJsonObject(value: unknown): value is JsonObject {
  return isObject(value)
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
