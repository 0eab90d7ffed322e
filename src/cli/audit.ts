import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { Option } from 'commander'
import type { Command } from 'commander'
import { OUTCOMES, idOf, readShown } from '../audit/chain.ts'
import type { ShownRecord } from '../audit/chain.ts'
import { readCheckpoints } from '../audit/checkpoints.ts'
import type { Checkpoint } from '../audit/checkpoints.ts'
import { createVerifier } from '../audit/verify.ts'
import type { Verifier } from '../audit/verify.ts'
import type { AdminApi, Query } from './admin-api.ts'
import { inLines } from './changes.ts'
import { EXIT, Failure } from './failure.ts'
import type { Session } from './session.ts'
import type { Column } from './show.ts'

const PATH = '/admin/v1/audit'

const COLUMNS: readonly Column<ShownRecord>[] = [
  { name: 'id', value: ({ id }) => id },
  { name: 'time', value: ({ time }) => time },
  { name: 'actor', value: ({ actor }) => actor.name },
  { name: 'action', value: ({ action }) => action },
  { name: 'resource', value: ({ resource }) => `${resource.type} ${resource.id}`.trim() },
  { name: 'outcome', value: ({ outcome, error_code }) => error_code ?? outcome },
  { name: 'address', value: ({ address }) => address },
]

/** What verifying finds, wherever it is done. */
interface Verified {
  readonly ok: boolean
  readonly count: number
  readonly head: string
  readonly erased: number
  readonly checkpoints: number
  readonly problem: { readonly id: string; readonly message: string } | null
}

interface VerifyOptions {
  readonly file?: string
  readonly checkpoints?: string
  readonly publicKey?: string
}

export function define(command: Command, session: Session): void {
  command
    .command('list')
    .description('who changed what, and who was refused, the newest first')
    .option('--actor <id>', 'by id or name')
    .option('--action <action>', 'such as keys.create, or keys.*')
    .option('--type <type>', 'of what was changed, such as key')
    .option('--id <id>', 'of what was changed')
    .addOption(new Option('--outcome <outcome>', 'only these').choices(OUTCOMES))
    .option('--from <moment>', 'RFC 3339, inclusive')
    .option('--to <moment>', 'RFC 3339, exclusive')
    .option('--limit <number>', 'at most so many, up to 100', '20')
    .action(async (options: Readonly<Record<string, string>>) => {
      const api = await session.connect()
      const { type, id, ...query } = options
      const { data } = await api.get<{ readonly data: readonly ShownRecord[] }>(PATH, {
        ...query,
        resource_type: type,
        resource_id: id,
      } satisfies Query)
      await session.rows(data, COLUMNS, 'Nothing of that kind was recorded')
    })

  command
    .command('get <id>')
    .description('one record, with what there was before and after')
    .action(async (id: string) => {
      const api = await session.connect()
      const record = await api.get<ShownRecord>(`${PATH}/${encodeURIComponent(id)}`)
      session.record(record, recordInWords)
    })

  command
    .command('export')
    .description('the whole chain, the oldest first, a JSON object on each line')
    .action(async () => {
      for await (const piece of exported(await session.connect())) {
        session.terminal.stdout.write(piece)
      }
    })

  command
    .command('verify')
    .description('whether records were changed, removed or put in; 7: they were')
    .option('--file <file>', 'an export, instead of what the server has')
    .option('--checkpoints <file>', 'signed states that the chain must agree with')
    .option('--public-key <base64>', "of the checkpoints (default: the server's)")
    .action(async (options: VerifyOptions) => {
      const isHere = options.file !== undefined || options.checkpoints !== undefined
      const verified = isHere ? await verifyHere(session, options) : await verifyThere(session)
      session.record(verified, inWords)
      if (!verified.ok) session.exit = EXIT.findings
    })
}

async function verifyThere(session: Session): Promise<Verified> {
  const api = await session.connect()
  return api.get<Verified>(`${PATH}/verify`)
}

/** Trusts nothing of the server but the key, and not even that where one is named. */
async function verifyHere(session: Session, options: VerifyOptions): Promise<Verified> {
  const { file, checkpoints, publicKey } = options
  const lines = file === undefined ? linesOf(await session.connect()) : linesIn(file)
  if (checkpoints === undefined) return verifyLines(lines, () => [])
  const text = await readFile(checkpoints, 'utf8').catch((cause: unknown) => {
    throw new Failure(EXIT.notFound, `${checkpoints} cannot be read`, { cause })
  })
  const key = publicKey ?? (await publicKeyOf(await session.connect()))
  return verifyLines(lines, (tenantId) => signedIn(text, checkpoints, key, tenantId))
}

async function publicKeyOf(api: AdminApi): Promise<string> {
  return (await api.get<{ readonly public_key: string }>(`${PATH}/key`)).public_key
}

/** @param tenantId undefined where there is no record that names it */
function signedIn(
  text: string,
  file: string,
  publicKey: string,
  tenantId: string | undefined,
): readonly Checkpoint[] {
  const { signed, forgedLine } = readCheckpoints(text, publicKey, tenantId)
  if (forgedLine !== undefined) {
    throw new Failure(EXIT.findings, `Line ${forgedLine} of ${file} was not signed by this key`, {
      fix: 'compare the key with the one of the server, and the file with a copy of it',
    })
  }
  if (signed.length === 0) {
    throw new Failure(EXIT.findings, `${file} has no state of ${tenantId ?? 'any tenant'}`, {
      why: 'an audit of another tenant, or a file of another server',
    })
  }
  return signed
}

async function verifyLines(
  lines: AsyncIterable<string>,
  signedOf: (tenantId: string | undefined) => readonly Checkpoint[],
): Promise<Verified> {
  let verifier: Verifier | undefined
  let signed: readonly Checkpoint[] = []
  const start = (tenantId?: string): Verifier => {
    signed = signedOf(tenantId)
    return createVerifier(signed, tenantId)
  }
  for await (const line of lines) {
    if (line === '') continue
    const read = readLine(line)
    verifier ??= start(read?.record.tenant_id)
    if (read === undefined) verifier.refuse('a line of the export is no record')
    else verifier.add(read.record, read.hash, read.content)
    if (verifier.failed) break
  }
  verifier ??= start()
  const { problem, ...verdict } = verifier.end()
  return {
    ...verdict,
    checkpoints: signed.length,
    problem: problem && { id: idOf(problem.sequence), ...problem },
  }
}

function readLine(line: string): ReturnType<typeof readShown> {
  try {
    return readShown(JSON.parse(line))
  } catch {
    return undefined
  }
}

async function* linesIn(file: string): AsyncGenerator<string> {
  try {
    yield* createInterface({ input: createReadStream(file, 'utf8'), crlfDelay: Infinity })
  } catch (cause) {
    throw new Failure(EXIT.notFound, `${file} cannot be read`, { cause })
  }
}

async function* linesOf(api: AdminApi): AsyncGenerator<string> {
  for await (const piece of exported(api)) yield* piece.split('\n')
}

/** In pieces that end with a line. */
async function* exported(api: AdminApi): AsyncGenerator<string> {
  for (let after: string | undefined; ;) {
    const piece = await api.text(`${PATH}/export`, { after })
    if (piece === '') return
    yield piece
    const last: ShownRecord = JSON.parse(piece.slice(piece.lastIndexOf('\n', piece.length - 2) + 1))
    after = last.id
  }
}

function inWords({ ok, count, head, erased, checkpoints, problem }: Verified): string {
  return inLines({
    audit: ok ? 'as it was written' : 'NOT AS IT WAS WRITTEN',
    ...(problem && { first_bad_record: problem.id, problem: problem.message }),
    records: String(count),
    last_hash: head,
    erased: String(erased),
    checkpoints: String(checkpoints),
  })
}

function recordInWords(record: ShownRecord): string {
  const { actor, resource, before, after } = record
  return inLines({
    id: record.id,
    time: record.time,
    actor: `${actor.name} (${actor.type} ${actor.id})`,
    action: record.action,
    resource: `${resource.type} ${resource.id}`,
    outcome: record.outcome,
    error: record.error_code ?? '-',
    address: record.address,
    user_agent: record.user_agent,
    request: record.request_id,
    hash: record.hash,
    before: JSON.stringify(before),
    after: JSON.stringify(after),
  })
}
