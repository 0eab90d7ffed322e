import type { Command } from 'commander'
import { ConfigError, SETTINGS, loadConfig, problemLine, variableOf } from '../config.ts'
import type { Config, ConfigProblem } from '../config.ts'
import { configChecks } from '../gateway/instances.ts'
import { EXIT, Failure } from './failure.ts'
import { readText } from './local-settings.ts'
import type { LocalSettings } from './local-settings.ts'
import type { Session } from './session.ts'
import { showJson } from './show.ts'
import type { Terminal } from './terminal.ts'

const HIDDEN = '[redacted]'

interface EffectiveSetting {
  readonly setting: string
  readonly value: Leaf
  readonly source: string
}

/** @throws ConfigError naming every mistake */
export function effectiveConfig(env: Terminal['env'], file?: string): Config {
  return loadConfig({
    flags: { config: file },
    env,
    readFile: readText,
    ...configChecks,
  })
}

export function define(command: Command, session: Session): void {
  const { env, stdout } = session.terminal

  command
    .command('validate')
    .description('name every mistake in the settings, with its line and its mending')
    .argument('[file]', 'settings file (default: TOLLGATE_CONFIG, else tollgate.yaml)')
    .option('--config <file>', 'the same')
    .action(async (argument: string | undefined, { config }: { readonly config?: string }) => {
      if (argument !== undefined && config !== undefined && argument !== config) {
        throw new Failure(EXIT.usage, `Which file: ${argument} or ${config}?`, {
          fix: 'name one file, with or without --config',
        })
      }
      const file = argument ?? config
      const problems = problemsOf(env, file)
      if (session.options.json !== undefined) {
        showJson(stdout, problems, session.options.json)
      } else {
        for (const problem of problems) session.print(problemLine(problem))
      }
      const name = file ?? (await session.local()).file
      if (problems.length === 0) {
        session.note(`${name ?? 'No settings file; variables and defaults'}: valid`)
      } else {
        session.note(`${problems.length} ${problems.length === 1 ? 'mistake' : 'mistakes'}`)
        session.exit = EXIT.findings
      }
    })

  command
    .command('show')
    .description('effective settings and where each comes from; secrets are never shown')
    .option('--redacted', 'said for clarity: it is always so')
    .action(async () => {
      const config = validConfig(env)
      const rows = effective(config, env, await session.local())
      await session.rows(rows, [
        { name: 'setting', value: ({ setting }) => setting },
        { name: 'value', value: ({ value }) => (value === null ? null : String(value)) },
        { name: 'source', value: ({ source }) => source },
      ])
    })
}

function problemsOf(env: Terminal['env'], file: string | undefined): readonly ConfigProblem[] {
  try {
    effectiveConfig(env, file)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
}

function validConfig(env: Terminal['env']): Config {
  try {
    return effectiveConfig(env)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const [first] = error.problems
    throw new Failure(EXIT.findings, 'The settings are not usable', {
      why: first && problemLine(first),
      fix: '`tollgate config validate` names every mistake',
      cause: error,
    })
  }
}

function effective(
  config: Config,
  env: Terminal['env'],
  local: LocalSettings,
): readonly EffectiveSetting[] {
  const values: Readonly<Record<string, unknown>> = config
  const scalars = Object.entries(SETTINGS).map(([setting, facts]): EffectiveSetting => {
    const value = leafOf(values[setting])
    return {
      setting,
      value: 'secret' in facts && value !== null ? HIDDEN : value,
      source: value === null ? 'not set' : sourceOf(setting, env, local),
    }
  })
  const objects = [...flatten('providers', config.providers), ...flatten('models', config.models)]
  const source = config.file ?? ''
  return [...scalars, ...objects.map(([setting, value]) => ({ setting, value, source }))]
}

function sourceOf(setting: string, env: Terminal['env'], local: LocalSettings): string {
  const variable = variableOf(setting)
  if (env[variable]) return variable
  if (env[`${variable}_FILE`]) return `${variable}_FILE`
  return local.written[setting] == null ? 'default' : (local.file ?? 'default')
}

type Leaf = string | number | boolean | null

function leafOf(value: unknown): Leaf {
  const isLeaf =
    typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
  return isLeaf ? value : null
}

/** The leaves of an object by their path; credentials and headers are hidden. */
function flatten(path: string, value: unknown): readonly (readonly [string, Leaf])[] {
  if (/^providers\..*\.(api_key$|headers\.)/.test(path)) return [[path, HIDDEN]]
  if (value === null || typeof value !== 'object') return [[path, leafOf(value)]]
  return Object.entries(value).flatMap(([key, inner]) => flatten(`${path}.${key}`, inner))
}
