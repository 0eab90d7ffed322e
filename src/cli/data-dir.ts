import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { generateKey } from '../secrets.ts'

export interface DataDir {
  readonly adminKey: string
  readonly masterKey: string
  /** The admin key was made just now: the one moment to show it. */
  readonly isNew: boolean
}

/**
 * Makes the data directory (0700) and the secrets in it (0600), where they are missing.
 *
 * @param given secrets from the settings, which win and are never written to disk
 * @throws Error when a secret's file can be read by others
 */
export function openDataDir(
  path: string,
  given: { readonly adminKey?: string; readonly masterKey?: string },
): DataDir {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  const adminFile = join(path, 'admin.key')
  const isNew = given.adminKey === undefined && !existsSync(adminFile)
  const adminKey = given.adminKey ?? secret(adminFile, () => generateKey('admin'))
  const masterKey =
    given.masterKey ?? secret(join(path, 'master.key'), () => randomBytes(32).toString('base64url'))
  return { adminKey, masterKey, isNew }
}

function secret(file: string, make: () => string): string {
  if (!existsSync(file)) {
    const made = make()
    // `wx`: of two processes that start at once, one wins and the other reads.
    writeFileSync(file, `${made}\n`, { mode: 0o600, flag: 'wx' })
    return made
  }
  const text = readFileSync(file, 'utf8').trim()
  if (text === '')
    throw new Error(`${file} is empty: remove it to have a new one made, or restore it`)
  chmodSync(file, 0o600)
  return text
}

/** The admin key of a server on this machine; undefined when there is none to read. */
export function readAdminKey(path: string): string | undefined {
  try {
    return readFileSync(join(path, 'admin.key'), 'utf8').trim() || undefined
  } catch {
    return undefined
  }
}
