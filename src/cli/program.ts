import { Command, CommanderError, Option } from 'commander'
import { duration } from './durations.ts'
import { EXIT, Failure } from './failure.ts'
import { createSession } from './session.ts'
import type { Session } from './session.ts'
import { plain } from './terminal.ts'
import type { Terminal } from './terminal.ts'
import { packageVersion } from './version.ts'

interface Entry {
  readonly name: string
  readonly summary: string
  readonly load: () => Promise<{
    /** Gives the command its options, its subcommands and what they do. */
    readonly define: (command: Command, session: Session) => void
  }>
}

/** Every command. Its module is loaded when it is asked for, so that help and failures are quick. */
const COMMANDS: readonly Entry[] = [
  { name: 'serve', summary: 'start the gateway', load: () => import('./serve-command.ts') },
  {
    name: 'doctor',
    summary: 'check this installation and say how to mend it',
    load: () => import('./doctor.ts'),
  },
  { name: 'config', summary: 'check and show settings', load: () => import('./config.ts') },
  { name: 'tenants', summary: 'tenants of this installation', load: () => import('./tenants.ts') },
  { name: 'apps', summary: 'applications, which keys belong to', load: () => import('./apps.ts') },
  { name: 'users', summary: 'people, their roles and tokens', load: () => import('./users.ts') },
  {
    name: 'whoami',
    summary: 'whose key this is, and what it may do',
    load: () => import('./whoami.ts'),
  },
  {
    name: 'me',
    summary: 'for a key that calls models: its rights, limits, spend and refusals',
    load: () => import('./me.ts'),
  },
  { name: 'keys', summary: 'keys of applications', load: () => import('./keys.ts') },
  {
    name: 'limits',
    summary: 'requests and tokens of any scope',
    load: () => import('./limits.ts'),
  },
  {
    name: 'budgets',
    summary: 'money of any scope, and how far it is used',
    load: () => import('./budgets.ts'),
  },
  {
    name: 'models',
    summary: 'what can be asked for, and its price',
    load: () => import('./models.ts'),
  },
  {
    name: 'prices',
    summary: 'what models cost, and since when',
    load: () => import('./prices.ts'),
  },
  {
    name: 'providers',
    summary: 'the services that serve models',
    load: () => import('./providers.ts'),
  },
  { name: 'costs', summary: 'requests, tokens and money', load: () => import('./costs.ts') },
  {
    name: 'logs',
    summary: 'what was decided about requests, and why',
    load: () => import('./logs.ts'),
  },
  { name: 'alerts', summary: 'what is to be told of', load: () => import('./alerts.ts') },
  {
    name: 'webhooks',
    summary: 'where alerts are sent, and how that went',
    load: () => import('./webhooks.ts'),
  },
  {
    name: 'audit',
    summary: 'who changed what, and whether the records hold',
    load: () => import('./audit.ts'),
  },
  { name: 'version', summary: 'versions of Tollgate and Node', load: () => import('./version.ts') },
  {
    name: 'completion',
    summary: 'completions for a shell',
    load: () => import('./completion.ts'),
  },
]

const NOTES = `
Environment:
  TOLLGATE_URL                                   the control plane to talk to
  TOLLGATE_ADMIN_KEY, TOLLGATE_ADMIN_KEY_FILE    its key, or the token of a user; else admin.key of
                                                 the data directory
  TOLLGATE_TENANT                                the tenant to act in
  TOLLGATE_API_KEY, TOLLGATE_DATA_URL            a key and the data plane, for "tollgate me"
  NO_COLOR                                       no colours

Exit codes:
  0 done   1 failed   2 wrong usage   3 not found   4 key needed   5 conflict
  6 limit or budget   7 findings (doctor, config validate, providers test)   130 interrupted

Start here:
  $ tollgate serve
  $ tollgate keys create --name web --models 'simulator/*' --budget 10.00/month
  $ tollgate costs summary`

/**
 * Runs one command.
 *
 * @param args without node and script
 * @returns the exit code
 */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const program = createProgram(terminal)
  const session = createSession(program, terminal)
  program.hook('preSubcommand', async (_, command) => {
    const entry = COMMANDS.find(({ name }) => name === command.name())
    if (entry === undefined) return
    // `serve` ends gracefully, by its own rules.
    if (entry.name !== 'serve') terminal.exitOnInterrupt(EXIT.interrupted)
    ;(await entry.load()).define(command, session)
  })
  try {
    await program.parseAsync(withBareJson(args), { from: 'user' })
    return session.exit
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
    return report(error, terminal, program.opts().debug === true)
  }
}

/** The whole tree, every command loaded: for completions. */
export async function wholeTree(session: Session): Promise<Command> {
  const program = createProgram(session.terminal)
  for (const { name, load } of COMMANDS) {
    const command = program.commands.find((found) => found.name() === name)
    if (command !== undefined) (await load()).define(command, session)
  }
  return program
}

function createProgram({ stdout, stderr }: Terminal): Command {
  const program = new Command('tollgate')
    .description('Self-hosted AI gateway: one endpoint over every model provider')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
    })
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('(--help shows what there is)')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help for a command')
    .option('--url <url>', 'control plane to talk to (default: the one set up here, port 8081)')
    .option('--tenant <tenant>', 'with the admin key: the tenant to act in, by id or name')
    .addOption(
      new Option('--json [fields]', 'print JSON: all of it, or --json=name,status').argParser(
        String,
      ),
    )
    .addOption(new Option('--csv', 'print CSV').conflicts('json'))
    .option('-q, --quiet', 'no notes; of lists only the first column')
    .option('--no-color', 'no colours')
    .addOption(
      new Option('--timeout <time>', 'longest wait for an answer')
        .argParser(duration)
        .default(30_000, '30s'),
    )
    .option('--debug', 'print the HTTP calls, without secrets, and stack traces')
    .addHelpText('after', NOTES)
  for (const { name, summary } of COMMANDS) program.command(name).description(summary)
  return program
}

/** `--json name` must not take the name for its fields: they follow after `=` only. */
function withBareJson(args: readonly string[]): readonly string[] {
  const end = args.indexOf('--')
  return args.map((arg, index) => (arg === '--json' && (end < 0 || index < end) ? '--json=' : arg))
}

function report(error: unknown, { stderr }: Terminal, debug: boolean): number {
  const failure = error instanceof Failure ? error : undefined
  const message = error instanceof Error ? error.message : String(error)
  const lines = [
    `error: ${message}`,
    ...(failure?.why === undefined ? [] : [`  why: ${failure.why}`]),
    ...(failure?.fix === undefined ? [] : [`  fix: ${failure.fix}`]),
    ...(failure === undefined && !debug ? ['  fix: --debug shows where this comes from'] : []),
  ]
  stderr.write(`${plain(lines.join('\n'))}\n`)
  if (debug) stderr.write(`${plain(traceOf(error))}\n`)
  return failure?.exit ?? EXIT.failed
}

function traceOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined ? '' : `\ncaused by ${traceOf(error.cause)}`
  return `${error.stack}${cause}`
}
