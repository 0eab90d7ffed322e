import { hash } from 'node:crypto'
import { canonical } from './canonical.ts'

/**
 * One line of a tenant's audit: who did what to which object, when, from where, with what result.
 *
 * The bytes that are hashed, so that anybody can check them: the record as below, all members, as
 * JSON of RFC 8785 (names sorted, no blanks) in UTF-8; its SHA-256 in lower-case hex is `hash`.
 * `previous_hash` is the `hash` of the record with the sequence before, 64 zeros for the first.
 * The content, `before` and `after`, is not in it but by its hashes: `before_hash` is the SHA-256
 * of `content_salt` and right behind it `before` as JSON of RFC 8785, in UTF-8. So the content can
 * be erased, and its salt with it, without breaking the chain; and the salt keeps short contents
 * from being guessed by their hash.
 *
 * Of a line of an export with other tools:
 *
 *     jq -cjS 'del(.id,.object,.hash,.content_salt,.before,.after)' | sha256sum
 *     jq -rj '.content_salt, (.before | tojson)' | sha256sum     # once sorted by -S
 */
export interface AuditRecord {
  readonly version: 1
  readonly tenant_id: string
  /** From 1, without a gap within the tenant. */
  readonly sequence: number
  /** RFC 3339 in UTC with milliseconds. */
  readonly time: string
  readonly actor: { readonly type: string; readonly id: string; readonly name: string }
  readonly action: string
  readonly resource: { readonly type: string; readonly id: string }
  readonly outcome: Outcome
  /** Why it was denied or failed. */
  readonly error_code: string | null
  /** Null: it was not there before, or nothing changed. */
  readonly before_hash: string | null
  /** Null: it is gone, or nothing changed. */
  readonly after_hash: string | null
  /** The client's, behind proxies that are trusted. */
  readonly address: string
  readonly user_agent: string
  readonly request_id: string
  readonly previous_hash: string
}

export const OUTCOMES = ['ok', 'denied', 'failed'] as const

export type Outcome = (typeof OUTCOMES)[number]

/** What can be erased of a record. */
export interface Content {
  /** 32 hexadecimal digits. */
  readonly salt: string
  /** JSON of RFC 8785; absent where the record has no hash of it. */
  readonly before?: string | undefined
  readonly after?: string | undefined
}

/** The action that erases the contents of all earlier records of its resource. */
export const ERASE = 'audit.erase'

/** What the first record has as its `previous_hash`. */
export const GENESIS = '0'.repeat(64)

/** Spelled out instead of sorted anew: a verifier does it for every record. */
export function hashRecord(record: AuditRecord): string {
  const { actor, resource } = record
  const text = JSON.stringify
  return hash(
    'sha256',
    `{"action":${text(record.action)},"actor":{"id":${text(actor.id)},"name":${text(actor.name)},"type":${text(actor.type)}},"address":${text(record.address)},"after_hash":${text(record.after_hash)},"before_hash":${text(record.before_hash)},"error_code":${text(record.error_code)},"outcome":${text(record.outcome)},"previous_hash":${text(record.previous_hash)},"request_id":${text(record.request_id)},"resource":{"id":${text(resource.id)},"type":${text(resource.type)}},"sequence":${record.sequence},"tenant_id":${text(record.tenant_id)},"time":${text(record.time)},"user_agent":${text(record.user_agent)},"version":${record.version}}`,
  )
}

/** @param json RFC 8785 */
export function hashContent(salt: string, json: string): string {
  return hash('sha256', salt + json)
}

/** A line of an export, and what the API shows of a record. */
export interface ShownRecord extends AuditRecord {
  readonly object: 'audit_record'
  readonly id: string
  readonly hash: string
  /** Null: there is no content, or it was erased. */
  readonly content_salt: string | null
  readonly before: unknown
  readonly after: unknown
}

export function showRecord(
  record: AuditRecord,
  recordHash: string,
  content: Content | undefined,
): ShownRecord {
  const parse = (json: string | undefined): unknown =>
    json === undefined ? null : JSON.parse(json)
  return {
    object: 'audit_record',
    id: idOf(record.sequence),
    ...record,
    hash: recordHash,
    content_salt: content?.salt ?? null,
    before: parse(content?.before),
    after: parse(content?.after),
  }
}

export function idOf(sequence: number): string {
  return `audit_${sequence}`
}

/** @returns undefined for what is no id of a record */
export function sequenceOf(id: string): number | undefined {
  const [, digits] = /^audit_([1-9]\d{0,14})$/.exec(id) ?? []
  return digits === undefined ? undefined : Number(digits)
}

const SHA256 = /^[0-9a-f]{64}$/
const MEMBERS = 21

/**
 * Reads a line of an export.
 *
 * @returns undefined for what no export has, such as a member too many
 */
export function readShown(
  value: unknown,
): { readonly record: AuditRecord; readonly hash: string; readonly content?: Content } | undefined {
  if (!isObject(value) || Object.keys(value).length !== MEMBERS) return undefined
  const { id, object, hash: recordHash, content_salt: salt, before, after, ...record } = value
  if (object !== 'audit_record' || typeof recordHash !== 'string' || !isRecord(record)) {
    return undefined
  }
  if (id !== idOf(record.sequence)) return undefined
  if (salt === null) {
    return before === null && after === null ? { record, hash: recordHash } : undefined
  }
  if (typeof salt !== 'string' || !/^[0-9a-f]{32}$/.test(salt)) return undefined
  const json = (given: unknown, wanted: string | null): string | undefined =>
    wanted === null && given === null ? undefined : canonical(given)
  const content: Content = {
    salt,
    before: json(before, record.before_hash),
    after: json(after, record.after_hash),
  }
  return { record, hash: recordHash, content }
}

/** Whether it hashes to something that means all of it: no member more or less. */
function isRecord(value: object): value is AuditRecord {
  const record = value as Readonly<Record<keyof AuditRecord, unknown>>
  const { actor, resource } = record
  const isText = (one: unknown): boolean => typeof one === 'string'
  const isHash = (one: unknown): boolean => isText(one) && SHA256.test(one as string)
  return (
    record.version === 1 &&
    Number.isSafeInteger(record.sequence) &&
    isObject(actor) &&
    Object.keys(actor).length === 3 &&
    [actor.type, actor.id, actor.name].every(isText) &&
    isObject(resource) &&
    Object.keys(resource).length === 2 &&
    [resource.type, resource.id].every(isText) &&
    [record.tenant_id, record.time, record.action, record.address].every(isText) &&
    [record.user_agent, record.request_id].every(isText) &&
    OUTCOMES.includes(record.outcome as Outcome) &&
    (record.error_code === null || isText(record.error_code)) &&
    [record.before_hash, record.after_hash].every((one) => one === null || isHash(one)) &&
    isHash(record.previous_hash)
  )
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
