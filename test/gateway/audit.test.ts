import { expect, it } from 'vitest'
import Database from 'better-sqlite3'
import { openGateway } from '../gateway.ts'

it('a change of the control plane writes its record, chained, append-only', async () => {
  const gateway = await openGateway({})
  const made = await gateway.admin('POST', '/admin/v1/keys', { name: 'web' })
  await gateway.admin('POST', `/admin/v1/keys/${made.body.id}/disable`)
  const database = new Database(`${gateway.dataDir}/tollgate.db`)
  const rows = database
    .prepare('select * from audit_records order by sequence')
    .all() as readonly Record<string, string>[]
  const contents = database.prepare('select * from audit_contents').all()
  expect(rows.map(({ resource_id, outcome }) => [resource_id, outcome])).toEqual([
    [made.body.id, 'ok'],
    [made.body.id, 'ok'],
  ])
  expect(rows[1]!.previous_hash).toBe(rows[0]!.hash)
  expect(JSON.stringify([rows, contents])).not.toContain(made.body.secret)
  for (const change of ['update audit_records set action = 1', 'delete from audit_records']) {
    expect(() => database.exec(change)).toThrow('append-only')
  }
  database.close()
  await gateway.close()
})
