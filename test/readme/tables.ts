import { FAULTS } from '../../providers/simulator/faults.ts'
import { providers } from '../../providers/index.ts'
import { SETTINGS, flagOf, variableOf } from '../../src/config.ts'
import { CODES } from '../../src/errors.ts'

/** The tables of the README that are printed from the code, by the name of their marker. */
export const TABLES: Readonly<Record<string, () => string>> = {
  settings: () =>
    table(
      ['In `tollgate.yaml`', 'Variable', 'Default', 'What'],
      Object.entries(SETTINGS).map(([name, setting]) => [
        'secret' in setting ? `\`${name}\`` : `\`${name}\` (\`${flagOf(name)}\`)`,
        `\`${variableOf(name)}\``,
        'default' in setting ? `\`${setting.default}\`` : '',
        setting.help,
      ]),
    ),
  errors: () =>
    table(
      ['Code', 'Status', 'Again?', 'What it means, what to do'],
      Object.entries(CODES).map(([code, { status, retryable, help }]) => [
        `\`${code}\``,
        String(status),
        retryable ? 'later' : 'no',
        help,
      ]),
    ),
  providers: () =>
    table(
      [
        'Kind',
        'Provider',
        'Key from',
        'Tools',
        'JSON schema',
        'Images',
        'Files',
        'Audio',
        'Reasoning',
        'Embeddings',
      ],
      [...providers.values()].map((provider) => {
        const { capabilities } = provider
        return [
          `\`${provider.id}\``,
          provider.name,
          provider.credentialVariables.map((name) => `\`${name}\``).join(' '),
          yes(capabilities.tools),
          yes(capabilities.jsonSchema),
          capabilities.images === 'none' ? '' : capabilities.images === 'url' ? 'yes' : 'inlined',
          yes(capabilities.files),
          yes(capabilities.audio),
          yes(capabilities.reasoning),
          yes(provider.embeddings !== undefined),
        ]
      }),
    ),
  faults: () =>
    table(
      ['Model `simulator/fault/...`', 'What happens'],
      Object.entries(FAULTS).map(([name, what]) => [`\`${name}\``, String(what)]),
    ),
}

/** The text with each table between its markers printed anew. */
export function withTables(text: string): string {
  return Object.entries(TABLES).reduce((out, [name, print]) => {
    const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
    const [from, to] = [out.indexOf(start), out.indexOf(end)]
    if (from < 0 || to < from) throw new Error(`The README has no place for the table "${name}"`)
    return `${out.slice(0, from + start.length)}\n\n${print()}\n\n${out.slice(to)}`
  }, text)
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), `|${head.map(() => ' --- ').join('|')}|`, ...rows.map(line)].join('\n')
}

function yes(has: boolean): string {
  return has ? 'yes' : ''
}
