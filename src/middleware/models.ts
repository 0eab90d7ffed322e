import type { Middleware } from 'koa'
import { GatewayError } from '#errors'
import type { Key } from '#protocol'
import type { GatewayState } from '../state.ts'

export interface ModelsDeps<Row extends { readonly id: string }> {
  readonly rows: (key: Key) => readonly Row[]
  readonly writeModels: (rows: readonly Row[]) => string
  readonly writeModel: (row: Row) => string
  readonly nearest: (name: string, known: Iterable<string>) => string | undefined
}

const LIST = '/v1/models'

/**
 * Answers `GET /v1/models` and `/v1/models/{id}` with what the key may call, and nothing else.
 * Whatever endpoints a key is kept to, it may ask this: SDKs do so before anything else.
 */
export function models<Row extends { readonly id: string }>(
  deps: ModelsDeps<Row>,
): Middleware<GatewayState> {
  return async function models(ctx) {
    const rows = deps.rows(ctx.state.key)
    ctx.type = 'application/json'
    if (ctx.path === LIST) {
      ctx.body = deps.writeModels(rows)
      return
    }
    const id = decode(ctx.path.slice(LIST.length + 1))
    const row = rows.find((one) => one.id === id)
    if (row === undefined) {
      const near = deps.nearest(
        id,
        rows.map((one) => one.id),
      )
      const hint =
        near === undefined ? `GET ${LIST} lists those you may call` : `did you mean "${near}"?`
      throw new GatewayError(
        'model_not_found',
        `The model "${id.slice(0, 100)}" does not exist or is not yours; ${hint}`,
        { param: 'model' },
      )
    }
    ctx.body = deps.writeModel(row)
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
