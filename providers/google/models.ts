/** What a model's name tells about the requests it takes. */
export interface ModelTraits {
  /**
   * 2.5 for `gemini-2.5-pro`. Aliases without a number (`gemini-flash-latest`) and tuned
   * models follow the newest: Infinity. 0 for models that are not Gemini.
   */
  readonly generation: number
  readonly pro: boolean
  readonly lite: boolean
  readonly gemma: boolean
}

export function modelTraits(model: string): ModelTraits {
  const gemma = model.includes('gemma')
  const number = /gemini-(\d+(?:\.\d+)?)/.exec(model)?.[1]
  return {
    generation: gemma ? 0 : number === undefined ? Infinity : Number(number),
    pro: /\bpro\b/.test(model),
    lite: /\blite\b/.test(model),
    gemma,
  }
}

/** The path of a model: two segments, whatever its name holds. */
export function modelPath(model: string): string {
  const [, collection, id] = /^(models|tunedModels)\/(.*)$/s.exec(resourceName(model)) ?? []
  return `${collection}/${encodeURIComponent(id ?? '')}`
}

/** `models/gemini-3-pro-preview` */
export function resourceName(model: string): string {
  return /^(models|tunedModels)\//.test(model) ? model : `models/${model}`
}
