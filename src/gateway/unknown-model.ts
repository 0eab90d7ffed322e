import { GatewayError } from '#errors'
import type { Directory } from '../routing/directory.ts'
import { grants } from '../routing/rights.ts'
import { nearest } from '../nearest.ts'

/** Rights and limits go by full names: a bare one that requests may use would cover nothing. */
export function unknownModel(directory: Directory, name: string): string | undefined {
  try {
    const route = directory.resolve(name)
    return route.name === name ? undefined : `"${name}" is ${route.name} in full: write that`
  } catch (error) {
    if (error instanceof GatewayError) return error.message
    throw error
  }
}

/** The same of a pattern: providers serve more models than are listed, so it goes by these. */
export function unknownPattern(directory: Directory, pattern: string): string | undefined {
  if (!pattern.includes('*')) return unknownModel(directory, pattern)
  const names = directory.names()
  const providers = [...directory.instances.keys()]
  const first = pattern.split('/')[0] ?? ''
  const isOfProvider = pattern.includes('/') && providers.some((name) => grants([first], name))
  if (isOfProvider || names.some((name) => grants([pattern], name))) return undefined
  const near = nearest(first, providers)
  const hint =
    near === undefined ? `providers are ${providers.join(', ')}` : `did you mean ${near}/*?`
  return `"${pattern.slice(0, 100)}" covers no model here; ${hint}`
}
