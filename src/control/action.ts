import type { Change, Resource } from './resource.ts'

const VERBS = { post: 'create', put: 'set', patch: 'update', delete: 'delete' } as const

/**
 * What a route does, as the audit names it: `keys.create`, `keys.revoke`. The noun is that of the
 * permission; the verb ends the path, or it is that of the method.
 */
export function actionOf({ method, path, permission, readOnly }: Resource): string {
  if (method === 'get' || readOnly === true) return permission
  const [noun = permission] = permission.split('.')
  const last = path.split('/').at(-1) ?? ''
  const isVerb = method === 'post' && last !== noun && !last.startsWith('{')
  return `${noun}.${isVerb ? last : VERBS[method]}`
}

/** What a call that came to nothing was about, as far as its path says. */
export function objectOf(
  { permission }: Resource,
  params: Readonly<Record<string, string>>,
): Pick<Change, 'type' | 'id'> {
  const [noun = permission] = permission.split('.')
  return { type: noun.replace(/s$/, ''), id: Object.values(params).at(-1) ?? '' }
}
