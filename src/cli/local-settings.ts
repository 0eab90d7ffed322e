import { readFileSync } from 'node:fs'

/** What the server of this directory was told, as far as a client needs to know. */
export interface LocalSettings {
  /** Absent: there is no settings file that can be read. */
  readonly file?: string
  /** The file's top level, as written. */
  readonly written: Readonly<Record<string, unknown>>
  get(name: keyof typeof DEFAULTS | 'admin_key'): string | undefined
}

/** Those of `SETTINGS`, which is too slow to load for every command; a test holds them together. */
export const DEFAULTS = {
  host: '127.0.0.1',
  port: '8080',
  admin_host: '127.0.0.1',
  admin_port: '8081',
  data_dir: './data',
} as const

/**
 * Reads variables and the settings file leniently: what is wrong in them is for `config validate`
 * to say, and must not keep a client from its server.
 */
export async function readLocalSettings(
  env: Readonly<Record<string, string | undefined>>,
): Promise<LocalSettings> {
  const file = env.TOLLGATE_CONFIG || 'tollgate.yaml'
  const text = readText(file)
  const written = text === undefined ? {} : await parse(text)
  return {
    ...(text !== undefined && { file }),
    written,
    get(name) {
      const variable = `TOLLGATE_${name.toUpperCase()}`
      const twin = env[`${variable}_FILE`]
      const given = env[variable] || (twin && readText(twin)?.trim()) || expand(written[name], env)
      return given || (name === 'admin_key' ? undefined : DEFAULTS[name])
    },
  }
}

/** A file's text; undefined when it cannot be read. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

async function parse(text: string): Promise<Record<string, unknown>> {
  const { parse: parseYaml } = await import('yaml')
  try {
    const value: unknown = parseYaml(text, { logLevel: 'silent', maxAliasCount: 100 })
    return typeof value === 'object' ? { ...value } : {}
  } catch {
    return {}
  }
}

function expand(
  value: unknown,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  if (typeof value !== 'string' && typeof value !== 'number') return undefined
  return String(value).replaceAll(
    /\$\{(\w+)(?::-([^}]*))?\}/g,
    (_, variable: string, fallback = '') => env[variable] || fallback,
  )
}
