import { pick, type Random } from './random.ts'

/** As much of the prompt as is quoted back. */
const QUOTE_LENGTH = 80

const STATEMENTS = [
  'The same request brings the same words again, so tests and demonstrations can rely on them.',
  'Another seed brings other sentences about the same question.',
  'Tokens are counted, priced and put on the ledger as they would be for any provider.',
  'Streaming, tools, JSON schemas and embeddings work here as they do with a real model.',
  'Nothing left this machine to write this, and no key was needed.',
  'To hear a real model, configure a provider and change nothing but the model name.',
] as const

const OPENINGS = [
  'You asked',
  'Your question was',
  'This is about what you wrote',
  'You said',
] as const

/** A short paragraph that answers to the prompt, as far as someone who knows nothing can. */
export function paragraph(prompt: string, random: Random): string {
  const opening = `${pick(random, OPENINGS)}: ${quote(prompt)}.`
  const from = Math.floor(random() * STATEMENTS.length)
  const chosen = [0, 1, 2].map((step) => STATEMENTS[(from + step) % STATEMENTS.length])
  return [opening, 'I am the simulator of Tollgate, not a model.', ...chosen].join(' ')
}

const THOUGHTS = [
  'First I read what was asked and what came before it.',
  'Then I weigh what a short and honest answer would say.',
  'Nothing here calls for a long explanation.',
  'I check that the answer fits the limits that were set.',
  'One more look at the wording, so that nothing is left out.',
  'Now I can answer.',
] as const

/** More effort, more thoughts. */
const LENGTHS: Readonly<Record<string, number>> = {
  minimal: 1,
  low: 2,
  medium: 3,
  high: 4,
  xhigh: 5,
  max: 6,
}

export function thoughts(prompt: string, effort: string): string {
  const count = LENGTHS[effort] ?? 3
  return [`The user wrote ${quote(prompt)}.`, ...THOUGHTS.slice(0, count)].join(' ')
}

/** What tools answered, in the order of their results. */
export function report(results: readonly { name: string; text: string }[]): string {
  return results
    .map(({ name, text }) => `The tool ${name} answered: ${text === '' ? 'nothing' : text}`)
    .join('\n')
}

function quote(prompt: string): string {
  const line = prompt.replaceAll(/\s+/g, ' ').trim()
  if (line === '') return 'nothing'
  const characters = Array.from(line.slice(0, QUOTE_LENGTH * 2))
  const cut = characters.length > QUOTE_LENGTH
  return `"${cut ? `${characters.slice(0, QUOTE_LENGTH).join('')}...` : line}"`
}
