import { Option } from 'commander'
import type { Command } from 'commander'
import { ConfigError, SETTINGS, flagOf } from '../config.ts'
import { EXIT, Failure } from './failure.ts'
import type { Session } from './session.ts'
import { packageVersion } from './version.ts'

export function define(command: Command, session: Session): void {
  command
    .configureHelp({ showGlobalOptions: false })
    .addHelpText(
      'after',
      '\nEach flag is also a variable (--port: TOLLGATE_PORT) and a line of tollgate.yaml.',
    )
  for (const [name, setting] of Object.entries(SETTINGS)) {
    if ('secret' in setting) continue
    const option = new Option(`${flagOf(name)} <value>`, setting.help)
    // Shown only: as a value it would outrank the environment and the file.
    if ('default' in setting) option.description += ` (default: ${setting.default})`
    command.addOption(option)
  }
  command.action(async (given: Readonly<Record<string, string>>) => {
    const flags = Object.fromEntries(
      Object.keys(SETTINGS).map((name) => [name, given[camelCase(name)]]),
    )
    const { serve } = await import('./serve.ts')
    try {
      session.exit = await serve({
        flags,
        env: session.terminal.env,
        version: packageVersion(),
        // Whatever --quiet says: the first key is shown once.
        print: (line) => session.terminal.stderr.write(`${line}\n`),
      })
    } catch (error) {
      if (error instanceof ConfigError)
        throw new Failure(EXIT.usage, error.message, { cause: error })
      const message = error instanceof Error ? error.message : String(error)
      throw new Failure(EXIT.failed, message, { cause: error })
    }
  })
}

/** As commander names the value of `--admin-port`. */
function camelCase(name: string): string {
  return name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
}
