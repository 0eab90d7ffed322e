import { Argument } from 'commander'
import type { Command } from 'commander'
import { wholeTree } from './program.ts'
import type { Session } from './session.ts'

/** What can follow some words of a command line. */
interface Place {
  /** `keys create`; empty for the start. */
  readonly words: string
  readonly commands: readonly Word[]
  readonly options: readonly Word[]
}

interface Word {
  readonly word: string
  readonly help: string
}

const SHELLS = { bash, zsh, fish } as const

export function define(command: Command, session: Session): void {
  command
    .addArgument(new Argument('<shell>', 'the shell to write for').choices(Object.keys(SHELLS)))
    .addHelpText('after', EXAMPLES)
    .action(async (shell: keyof typeof SHELLS) => {
      const program = await wholeTree(session)
      session.print(SHELLS[shell](placesOf(program, '', optionsOf(program))))
    })
}

const EXAMPLES = `
Examples:
  $ source <(tollgate completion bash)
  $ tollgate completion zsh > "\${fpath[1]}/_tollgate"
  $ tollgate completion fish > ~/.config/fish/completions/tollgate.fish`

function placesOf(command: Command, words: string, everywhere: readonly Word[]): readonly Place[] {
  const own = words === '' ? [] : optionsOf(command)
  const place = {
    words,
    commands: command.commands.map((sub) => ({ word: sub.name(), help: sub.description() })),
    options: [...own, ...everywhere],
  }
  const deeper = command.commands.flatMap((sub) =>
    placesOf(sub, `${words} ${sub.name()}`.trim(), everywhere),
  )
  return [place, ...deeper]
}

function optionsOf(command: Command): readonly Word[] {
  return command.options.flatMap(({ long, description, hidden }) =>
    long == null || hidden ? [] : [{ word: long, help: description }],
  )
}

function bash(places: readonly Place[]): string {
  return `# bash completion of tollgate
_tollgate() {
  local current="\${COMP_WORDS[COMP_CWORD]}" place="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$place $word" in
${stepCases(places, '      ')}
    esac
  done
  local words=""
  case "$place" in
${places.map(({ words, commands, options }) => `    "${words && ` ${words}`}") words="${[...commands, ...options].map(({ word }) => word).join(' ')}" ;;`).join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _tollgate tollgate`
}

/** Moves to the place a word leads to, where it is the next command; anything else is a value. */
function stepCases(places: readonly Place[], indent: string): string {
  return places
    .filter(({ words }) => words !== '')
    .map(({ words }) => `${indent}" ${words}") place="$place $word" ;;`)
    .join('\n')
}

function zsh(places: readonly Place[]): string {
  return `#compdef tollgate
# zsh completion of tollgate
_tollgate() {
  local place="" word
  local -a found
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$place $word" in
${stepCases(places, '      ')}
    esac
  done
  case "$place" in
${places.map(({ words, commands, options }) => `    "${words && ` ${words}`}") found=(${[...commands, ...options].map(described).join(' ')}) ;;`).join('\n')}
  esac
  _describe tollgate found || _files
}
if [ "$funcstack[1]" = _tollgate ]; then _tollgate "$@"; else compdef _tollgate tollgate; fi`
}

function described({ word, help }: Word): string {
  return quote(`${word}:${help}`)
}

function fish(places: readonly Place[]): string {
  const lines = places.flatMap(({ words, commands, options }) => {
    const at = `-n '__tollgate_at "${words}"'`
    return [
      ...commands.map(
        ({ word, help }) => `complete -c tollgate ${at} -f -a ${word} -d ${quote(help)}`,
      ),
      ...options.map(
        ({ word, help }) => `complete -c tollgate ${at} -l ${word.slice(2)} -d ${quote(help)}`,
      ),
    ]
  })
  const paths = places.filter(({ words }) => words !== '').map(({ words }) => `"${words}"`)
  return `# fish completion of tollgate
function __tollgate_at
  set -l place ""
  for word in (commandline -opc)[2..-1]
    string match -q -- '-*' $word; and continue
    set -l next (string trim -- "$place $word")
    contains -- $next ${paths.join(' ')}; and set place $next
  end
  test "$place" = "$argv[1]"
end
${lines.join('\n')}`
}

function quote(text: string): string {
  return `'${text.replaceAll("'", '’')}'`
}
