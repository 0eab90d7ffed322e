import type { Command } from 'commander'
import type { ModelView } from '../control/catalogue.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

const COLUMNS: readonly Column<ModelView>[] = [
  { name: 'id', value: ({ id }) => id },
  { name: 'targets', value: ({ targets }) => targets.join(',') },
  { name: 'fallbacks', value: ({ fallbacks }) => fallbacks.join(',') || null },
  { name: 'strategy', value: ({ strategy }) => strategy },
  { name: 'context_tokens', value: ({ context_tokens }) => context_tokens },
  { name: 'max_output_tokens', value: ({ max_output_tokens }) => max_output_tokens },
]

const PRICE_COLUMNS: readonly Column<ModelView>[] = [
  { name: 'id', value: ({ id }) => id },
  { name: 'input_usd_per_million', value: ({ price }) => price?.input ?? 'unpriced' },
  { name: 'output_usd_per_million', value: ({ price }) => price?.output ?? 'unpriced' },
  { name: 'price_version', value: ({ price }) => price?.version ?? null },
]

/** Every name that can be asked for. */
export async function listModels(session: Session): Promise<readonly ModelView[]> {
  const api = await session.connect()
  return (await api.get<{ readonly data: readonly ModelView[] }>('/admin/v1/models')).data
}

export function define(command: Command, session: Session): void {
  command
    .command('list')
    .description('every name that can be asked for, and where it leads')
    .option('--prices', 'what they cost, in USD per million tokens')
    .action(async ({ prices }: { readonly prices?: boolean }) => {
      const models = await listModels(session)
      await session.rows(models, prices ? PRICE_COLUMNS : COLUMNS, 'No provider serves a model')
    })
}
