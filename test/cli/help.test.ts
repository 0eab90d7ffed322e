import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { SETTINGS, flagOf } from '../../src/config.ts'
import { controlPlane, listOf } from './control-plane.ts'
import { atTerminal, directory, tollgate } from './tollgate.ts'

const ROOT = join(import.meta.dirname, '../..')

describe('help', () => {
  it('loads commander and nothing of the server', () => {
    const tracer = `import { registerHooks } from 'node:module'
      registerHooks({ load(url, context, next) {
        process.stderr.write(url + '\\n')
        return next(url, context)
      } })`
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [
        '--import',
        `data:text/javascript,${encodeURIComponent(tracer)}`,
        join(ROOT, 'src/bin.js'),
        '--help',
      ],
      { encoding: 'utf8' },
    )
    expect(stdout).toContain('Usage: tollgate')
    const loaded = stderr.split('\n').filter((url) => url.startsWith('file:'))
    const packages = loaded.flatMap((url) => /node_modules\/([^/]+)/.exec(url)?.[1] ?? [])
    const own = loaded.flatMap((url) => /\/src\/(.+)/.exec(url)?.[1] ?? [])
    expect(new Set(packages)).toEqual(new Set(['commander']))
    expect(own.filter((path) => !path.startsWith('cli/'))).toEqual([
      'bin.js',
      'main.ts',
      'secrets.ts',
    ])
  })

  it('has a flag of serve for each setting that is no secret', async () => {
    const { stdout } = await atTerminal(['serve', '--help'], {})
    for (const [name, setting] of Object.entries(SETTINGS)) {
      expect(stdout.includes(`${flagOf(name)} `)).toBe(!('secret' in setting))
    }
  })

  it('of serve does not take a default for a value', async () => {
    const ran = await tollgate(['serve'], { env: { TOLLGATE_PORT: 'many' } })
    expect(ran.code).toBe(2)
    expect(ran.stderr).toContain('TOLLGATE_PORT: ')
  })
})

describe('completion bash', () => {
  it('knows commands, subcommands and options', async () => {
    const { stdout } = await atTerminal(['completion', 'bash'], {})
    for (const [line, word, expected] of [
      ['tollgate', 'ke', ['keys']],
      ['tollgate keys', 'rev', ['revoke']],
      ['tollgate --json keys', 'ro', ['roll']],
      ['tollgate keys create', '--bud', ['--budget']],
      ['tollgate keys get keys', '--js', ['--json']],
      ['tollgate serve', '--admin-', ['--admin-host', '--admin-port']],
      ['tollgate costs report', '--b', ['--by']],
    ] as const) {
      expect(completions(stdout, line, word)).toEqual(expected)
    }
  })

  for (const shell of ['zsh', 'fish'] as const) {
    it(`is there for ${shell} too`, async () => {
      const { stdout } = await atTerminal(['completion', shell], {})
      for (const word of ['revoke', 'budget', 'admin-port']) expect(stdout).toContain(word)
    })
  }
})

describe('providers test', () => {
  const providers = listOf([{ name: 'good' }, { name: 'bad' }])
  const answers = {
    'GET /admin/v1/providers': providers,
    'POST /admin/v1/providers/good/test': {
      body: { ok: true, duration_ms: 2, models: ['a', 'b'] },
    },
    'POST /admin/v1/providers/bad/test': {
      body: { ok: false, duration_ms: 2, error: { code: 'upstream_timeout', message: 'Late' } },
    },
  }

  for (const [what, args, code, words] of [
    ['is 7 when one fails', [], 7, 'upstream_timeout: Late'],
    ['is 0 when the one asked for works', ['good'], 0, 'good'],
    ['is 3 for a name that is not there', ['god'], 3, 'did you mean good?'],
  ] as const) {
    it(what, async () => {
      const plane = await controlPlane(answers)
      const ran = await atTerminal(['providers', 'test', ...args], plane)
      expect(ran.code).toBe(code)
      expect(ran.stdout + ran.stderr).toContain(words)
    })
  }
})

describe('models list', () => {
  it('says unpriced where there is no price', async () => {
    const price = { input: '0.15', output: '0.6', version: 'v1' }
    const models = [
      { id: 'a/b', targets: ['a/b'], fallbacks: [], strategy: 'ordered', price },
      { id: 'c/d', targets: ['c/d'], fallbacks: [], strategy: 'ordered', price: null },
    ]
    const plane = await controlPlane({ 'GET /admin/v1/models': listOf(models) })
    const ran = await tollgate(['models', 'list', '--prices'], { env: plane.env })
    expect(ran.stdout.split('\n').slice(1, 3)).toEqual([
      'a/b\t0.15\t0.6\tv1',
      'c/d\tunpriced\tunpriced\t',
    ])
  })
})

/** What bash offers for a word after a line. */
function completions(script: string, line: string, word: string): readonly string[] {
  const words = [...line.split(' '), word]
  const program = `${script}
COMP_WORDS=(${words.map((one) => `'${one}'`).join(' ')}); COMP_CWORD=${words.length - 1}
_tollgate; printf '%s\\n' "\${COMPREPLY[@]}"`
  const cwd = directory()
  return execFileSync('bash', ['-c', program], { cwd, encoding: 'utf8' }).trim().split('\n')
}
