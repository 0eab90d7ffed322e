import type { Bench } from './bench.ts'
import { checkEmbeddings } from './embeddings.ts'
import type { Findings } from './explained.ts'
import { modelOf } from './google.ts'
import { count, describe, differences, fields, isFields, objects, plain, text } from './json.ts'
import { bytesOf, prefixed } from './openai-wire.ts'
import { checkError, checkHead, checkRefusal } from './outcome.ts'
import type { Reported } from './outcome.ts'
import type { Recording } from './recordings.ts'

/** Replays embeddings of the Gemini API as a request to `/v1/embeddings`. */
export async function replayContents(
  bench: Bench,
  recording: Recording,
  findings: Findings,
): Promise<void> {
  const requests = objects(fields(recording.request.body)['requests'])
  const parts = requests.flatMap(({ content }) => objects(fields(content)['parts']))
  if (parts.some((part) => !('text' in part))) {
    findings.explained.add('media-embeddings')
    return
  }
  const [first = {}] = requests
  const asked = {
    model: modelOf(recording),
    input: requests.map(({ content }) => wordsOf(content)),
    dimensions: first['outputDimensionality'],
    taskType: first['taskType'],
  }
  const exchange = await bench.ask('/v1/embeddings', prefixed(asked, recording), {
    ...recording.response,
    parts: [bytesOf(recording)],
  })
  if (checkRefusal(exchange, recording, asked, findings)) return
  checkHead(exchange, recording, findings)
  const sent = objects(fields(exchange.received[0]?.body)['requests'])
  for (const difference of differences(plain(requests), plain(sent))) {
    findings.failures.push(`request: ${describe(difference)}`)
  }
  if (recording.response.status >= 400) {
    checkError(exchange, recording, findings)
    return
  }
  const answer = fields(recording.response.json)
  const expected = {
    vectors: objects(answer['embeddings']).map(({ values }) => values),
    reported: readUsage(answer['usageMetadata']),
  }
  checkEmbeddings(exchange, recording, expected, undefined, findings)
}

function wordsOf(content: unknown): string {
  return objects(fields(content)['parts'])
    .map((part) => text(part['text']))
    .join('')
}

/** Of the models only the newest count. */
function readUsage(usage: unknown): Reported | undefined {
  if (!isFields(usage)) return undefined
  const said = usage['promptTokenCount']
  const summed = objects(usage['promptTokenDetails']).reduce(
    (sum, { tokenCount }) => sum + count(tokenCount),
    0,
  )
  const prompt = typeof said === 'number' ? said : summed
  return { prompt, completion: 0, total: prompt }
}
