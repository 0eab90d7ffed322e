import { GatewayError } from '#errors'
import type { Key } from '#protocol'
import type { Attribution } from '../metering/account.ts'
import type { GatewayState } from '../state.ts'
import type { KnownApplication, Tenancy } from './tenancy.ts'

const HEADER = 'x-tollgate-tags'
const MOST_TAGS = 10
const TAG = /^[\w.:/-]{1,64}$/

/** On whose behalf requests are made, as every entry of theirs says it. */
export interface Attributions {
  /**
   * The tags of a request: of its application, its key and its own header; in lower case, sorted, each once.
   *
   * @throws GatewayError `invalid_value` for a header that is no list of tags
   */
  readonly tags: (state: Pick<GatewayState, 'key' | 'headers'>) => readonly string[]
  /** @param tags - as given before */
  readonly of: (key: Key, tags: readonly string[]) => Attribution
}

/** What a key's requests have in common; made anew when the key or its application changes. */
interface Known {
  readonly application: KnownApplication | undefined
  readonly tags: readonly string[]
  readonly attribution: Attribution
}

export function attributions({ application }: Pick<Tenancy, 'application'>): Attributions {
  const known = new WeakMap<Key, Known>()

  function about(key: Key): Known {
    const found = known.get(key)
    const own = application(key.applicationId)
    if (found !== undefined && found.application === own) return found
    const tags = sorted([...key.tags, ...(own?.tags ?? [])])
    const made = { application: own, tags, attribution: attributionOf(key, own, tags) }
    known.set(key, made)
    return made
  }

  return {
    tags({ key, headers }) {
      const { tags } = about(key)
      const header = headers[HEADER]
      return header === undefined ? tags : sorted([...tags, ...readTags(String(header))])
    },
    of(key, tags) {
      const found = about(key)
      return tags === found.tags ? found.attribution : attributionOf(key, found.application, tags)
    },
  }
}

function attributionOf(
  { userId }: Key,
  application: KnownApplication | undefined,
  tags: readonly string[],
): Attribution {
  const environment = application?.environment
  return {
    ...(userId !== undefined && { userId }),
    ...(tags.length > 0 && { tags }),
    ...(environment !== undefined && environment !== '' && { environment }),
  }
}

function readTags(header: string): readonly string[] {
  const tags = header
    .split(',')
    .map((tag) => tag.trim().toLowerCase())
    .filter((tag) => tag !== '')
  if (tags.length <= MOST_TAGS && tags.every((tag) => TAG.test(tag))) return tags
  throw new GatewayError(
    'invalid_value',
    `${HEADER} takes up to ${MOST_TAGS} tags, separated by commas, each of up to 64 letters, digits and _ . : / -`,
    { param: HEADER },
  )
}

function sorted(tags: readonly string[]): readonly string[] {
  return [...new Set(tags.map((tag) => tag.toLowerCase()))].toSorted()
}
