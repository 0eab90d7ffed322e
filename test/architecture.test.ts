import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'
import { providers } from '../providers/index.ts'

const ROOT = join(import.meta.dirname, '..')
const ALIASES: Record<string, string> = { '#protocol': 'src/protocol', '#errors': 'src/errors.ts' }
const CONTRACT = ['src/protocol', 'src/errors.ts']

/** Which part may import which. A part may import itself; nothing else is implied. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  'src/protocol': [],
  'src/errors.ts': [],
  'src/nearest.ts': [],
  'src/secrets.ts': [],
  'src/config.ts': ['src/nearest.ts', 'src/price-settings.ts', 'src/settings-file.ts'],
  'src/price-settings.ts': [],
  'src/settings-file.ts': [],
  'src/state.ts': [...CONTRACT, 'src/endpoints', 'src/metering'],
  'src/audit': [],
  'src/store': [...CONTRACT, 'src/audit'],
  'src/reports': CONTRACT,
  'src/alerts': [...CONTRACT, 'src/metering', 'src/upstream'],
  'src/routing': CONTRACT,
  'src/endpoints': CONTRACT,
  'src/upstream': CONTRACT,
  'src/metering': [...CONTRACT, 'providers/catalogue.json'],
  'src/middleware': [...CONTRACT, 'src/state.ts', 'src/endpoints', 'src/metering'],
}

/** Which packages a part may use; parts not named here may use any. */
const MAY_USE: Record<string, readonly string[]> = {
  'src/protocol': [],
  'src/errors.ts': [],
  'src/reports': [],
  'src/routing': [],
  'src/middleware': ['koa'],
  'src/endpoints': [],
  'src/upstream': ['undici'],
  'src/store': ['kysely', 'better-sqlite3', 'pg'],
}

for (const provider of globSync('providers/*', { cwd: ROOT })) {
  if (
    ['providers/index.ts', 'providers/catalogue.json', 'providers/catalogue.update.ts'].includes(
      provider,
    )
  )
    continue
  MAY_IMPORT[provider] = [...CONTRACT, 'providers/openai-compatible']
}

describe('architecture', () => {
  for (const [part, allowed] of Object.entries(MAY_IMPORT)) {
    it(`${part} imports only ${allowed.join(', ') || 'itself'}`, () => {
      const strays = importsIn(part).filter(
        ({ target, own }) =>
          own && ![part, ...allowed].some((ok) => `${target}/`.startsWith(`${ok}/`)),
      )
      expect(strays).toEqual([])
    })
  }

  for (const [part, allowed] of Object.entries(MAY_USE)) {
    it(`${part} uses only ${allowed.join(', ') || 'no package'}`, () => {
      const strays = importsIn(part).filter(
        ({ target, own }) =>
          !own && !target.startsWith('node:') && !allowed.includes(packageOf(target)),
      )
      expect(strays).toEqual([])
    })
  }

  it('names no provider outside providers/', () => {
    // The simulator is a part of the product, and joined where the parts are joined.
    const ids = [...providers.keys()].filter((id) => id !== 'simulator')
    const named = globSync('src/**/*.ts', { cwd: ROOT }).flatMap((file) => {
      const code = stripComments(readFileSync(join(ROOT, file), 'utf8'))
      // Subscripts are field names of a wire, such as `extra_content.google`.
      return ids
        .filter((id) => new RegExp(`(?<!\\[)'${id}'`).test(code))
        .map((id) => `${file}: '${id}'`)
    })
    expect(named).toEqual([])
  })

  for (const [what, pattern, allowed] of [
    ['process.env', /\bprocess\.env\b/, ['src/main.ts', 'src/bin.js', 'src/cli/']],
    ['Date.now', /\bDate\.now\b/, ['src/main.ts', 'src/cli/']],
    ['Math.random', /\bMath\.random\b/, ['src/main.ts', 'src/cli/']],
    ['fetch', /(?<![\w.])fetch\(/, ['src/cli/']],
  ] as const) {
    it(`reads ${what} only where the parts are joined`, () => {
      const found = globSync(['src/**/*.ts', 'providers/**/*.ts'], { cwd: ROOT }).filter(
        (file) =>
          !allowed.some((place) => file.startsWith(place)) &&
          !file.endsWith('.update.ts') &&
          pattern.test(stripComments(readFileSync(join(ROOT, file), 'utf8'))),
      )
      expect(found).toEqual([])
    })
  }
})

interface Import {
  readonly file: string
  /** A path from the root for our own files, else the specifier. */
  readonly target: string
  readonly own: boolean
}

function importsIn(part: string): readonly Import[] {
  const files = /\.(ts|js)$/.test(part) ? [part] : globSync(`${part}/**/*.ts`, { cwd: ROOT })
  return files.flatMap((file) => {
    const source = readFileSync(join(ROOT, file), 'utf8')
    return [
      ...source.matchAll(
        /^(?:import|export)\b[^'\n]*(?:\n[^'\n]*)*?from '([^']+)'|\bimport\('([^']+)'\)/gm,
      ),
    ].map(([, from, dynamic]): Import => {
      const specifier = from ?? dynamic ?? ''
      const alias = ALIASES[specifier]
      if (alias !== undefined) return { file, target: alias, own: true }
      const own = specifier.startsWith('.')
      const target = own ? relative(ROOT, join(ROOT, dirname(file), specifier)) : specifier
      return { file, target, own }
    })
  })
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

function stripComments(source: string): string {
  return source.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '')
}
