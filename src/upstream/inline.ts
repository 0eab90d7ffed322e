import type { Change, ChatRequest, Message, Source } from '#protocol'

export type FetchMedia = (
  url: string,
) => Promise<{ readonly mediaType: string; readonly base64: string }>

/** Puts the bytes of linked images and files into a request, for targets that do not fetch them. */
export async function inlineMedia(
  request: ChatRequest,
  fetchMedia: FetchMedia,
  /** Links the target reads itself. */
  readsUrl: (url: string) => boolean,
): Promise<{ request: ChatRequest; changes: readonly Change[] }> {
  const links = linksIn(request).filter(({ url }) => !readsUrl(url))
  if (links.length === 0) return { request, changes: [] }
  const fetched = new Map<string, Source>()
  await Promise.all(
    [...new Set(links.map(({ url }) => url))].map(async (url) => {
      const { mediaType, base64 } = await fetchMedia(url)
      fetched.set(url, { type: 'base64', mediaType, data: base64 })
    }),
  )
  const messages = request.messages.map((message): Message => {
    if (message.role !== 'user' && message.role !== 'tool') return message
    const content = message.content.map((part) => {
      if ((part.type !== 'image' && part.type !== 'file') || part.source.type !== 'url') return part
      return { ...part, source: fetched.get(part.source.url) ?? part.source }
    })
    // The parts keep their kinds, which are those the role may hold.
    return { ...message, content } as Message
  })
  const changes = links.map(({ field }): Change => ({
    field,
    kind: 'adapted',
    note: 'fetched and sent inline',
  }))
  return { request: { ...request, messages }, changes }
}

function linksIn({
  messages,
}: ChatRequest): readonly { readonly url: string; readonly field: string }[] {
  return messages.flatMap((message, at) => {
    if (message.role !== 'user' && message.role !== 'tool') return []
    return message.content.flatMap((part, index) => {
      if ((part.type !== 'image' && part.type !== 'file') || part.source.type !== 'url') return []
      // A file of the provider itself, which it reads and we cannot.
      if (!/^https?:/i.test(part.source.url)) return []
      return [{ url: part.source.url, field: `messages[${at}].content[${index}]` }]
    })
  })
}
