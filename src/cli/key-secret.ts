import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { EXIT, Failure } from './failure.ts'
import { limitsInWords } from './key-options.ts'
import type { KeyView } from './key-options.ts'
import { isLoopback, reachable } from './session.ts'
import type { Session } from './session.ts'

/** A key with what is shown this once. */
export interface NewKey extends KeyView {
  readonly secret: string
}

export const SECRET_FORMS = ['text', 'env', 'json', 'k8s-secret'] as const

export type SecretForm = (typeof SECRET_FORMS)[number]

/** A file for a key, made before the key is: what cannot be written must not cost one. */
export interface SecretFile {
  readonly path: string
  write(text: string): void
  /** Takes the file away again; for when there is no key to write. */
  discard(): void
}

/** @throws Failure when the file is there already, or cannot be made */
export function openSecretFile(path: string): SecretFile {
  let file: number
  try {
    file = openSync(path, 'wx', 0o600)
  } catch (error) {
    const isThere = error instanceof Error && 'code' in error && error.code === 'EEXIST'
    throw new Failure(
      EXIT.failed,
      isThere ? `${path} is there already` : `${path} cannot be written`,
      { fix: 'name another file with --to; no key was made', cause: error },
    )
  }
  return {
    path,
    write(text) {
      writeSync(file, `${text}\n`)
      fsyncSync(file)
      closeSync(file)
    },
    discard() {
      closeSync(file)
      rmSync(path, { force: true })
    },
  }
}

/**
 * The key itself goes to stdout (or a file for its owner alone) and nothing else, so that it can
 * be piped; the rest is a note.
 */
export async function showSecret(
  session: Session,
  key: NewKey,
  form: SecretForm,
  file?: SecretFile,
): Promise<void> {
  const baseUrl = await baseUrlOf(session)
  try {
    if (file === undefined) session.record(key, () => FORMS[form](key, baseUrl))
    else {
      file.write(FORMS[form](key, baseUrl))
      const { secret: _, ...shown } = key
      session.record(shown, ({ id }) => id)
      session.note(`The key is in ${file.path}, which only you can read.`)
    }
  } catch (error) {
    // A field that is not there must not cost the key.
    session.print(FORMS.json(key, baseUrl))
    throw error
  }
  session.note(
    [
      `${key.name} (${key.id}): models ${key.models.join(', ')}`,
      limitsInWords(key) || 'no limits',
      key.expires_at === null ? 'never expires' : `expires ${key.expires_at}`,
    ].join('; '),
  )
  session.note(
    `${file === undefined ? 'The key is shown this once: keep it now. ' : ''}With an OpenAI SDK it is the API key, and the base URL is ${baseUrl ?? 'the address of the data plane followed by /v1'}.`,
  )
}

const FORMS: Readonly<Record<SecretForm, (key: NewKey, baseUrl: string | undefined) => string>> = {
  text: ({ secret }) => secret,
  json: (key) => JSON.stringify(key, null, 2),
  env: ({ secret }, baseUrl) =>
    [
      `OPENAI_API_KEY=${secret}`,
      ...(baseUrl === undefined ? [] : [`OPENAI_BASE_URL=${baseUrl}`]),
    ].join('\n'),
  'k8s-secret': ({ id, name, secret, expires_at }, baseUrl) =>
    [
      'apiVersion: v1',
      'kind: Secret',
      'metadata:',
      `  name: ${objectName(name)}`,
      '  labels:',
      '    app.kubernetes.io/managed-by: tollgate',
      '  annotations:',
      `    tollgate/key-id: ${id}`,
      ...(expires_at === null ? [] : [`    tollgate/expires-at: "${expires_at}"`]),
      'type: Opaque',
      'stringData:',
      `  OPENAI_API_KEY: ${secret}`,
      ...(baseUrl === undefined ? [] : [`  OPENAI_BASE_URL: ${baseUrl}`]),
    ].join('\n'),
}

/** A name as Kubernetes takes it (RFC 1123). */
function objectName(name: string): string {
  const plain = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 50)
    .replaceAll(/^-+|-+$/g, '')
  return `tollgate-${plain || 'key'}`
}

/** Where the data plane is, by the server's own word; absent where that holds for its machine only. */
async function baseUrlOf(session: Session): Promise<string | undefined> {
  const api = await session.connect()
  let told: string | null | undefined
  try {
    told = (await api.get<{ readonly data_url?: string | null }>('/admin/v1/health')).data_url
  } catch {
    // The key is made, and must be shown whatever else fails.
    return undefined
  }
  const url = URL.parse(told ?? '')
  if (url === null) return undefined
  const host = reachable(url.hostname.replaceAll(/[[\]]/g, ''))
  if (isLoopback(host) && !api.isLocal) return undefined
  return `${url.protocol}//${host}${url.port && `:${url.port}`}/v1`
}
