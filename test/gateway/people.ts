import type { TestGateway } from '../gateway.ts'

export interface Reply {
  readonly status: number
  // oxlint-disable-next-line typescript/no-explicit-any -- tests say what they expect of it
  readonly body: any
  readonly headers: Headers
  readonly text: string
}

export interface Person {
  readonly id: string
  readonly token: string
  readonly tokenId: string
}

/** Calls the control plane with the token of a person. */
export async function ask(
  gateway: TestGateway,
  token: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Reply> {
  const response = await fetch(gateway.adminUrl + path, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  const text = await response.text()
  const isJson = /\/json/.test(response.headers.get('content-type') ?? '')
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: isJson ? JSON.parse(text) : text,
  }
}

/** @returns the id of a new tenant */
export async function newTenant(gateway: TestGateway, name: string): Promise<string> {
  const { status, body } = await gateway.admin('POST', '/admin/v1/tenants', { name })
  if (status !== 201) throw new Error(JSON.stringify(body))
  return body.id
}

/** A user of a tenant with a token. */
export async function newPerson(
  gateway: TestGateway,
  tenant: string,
  role: string,
  fields: { readonly name?: string; readonly expiresAt?: string } = {},
): Promise<Person> {
  const name = fields.name ?? role
  const user = await gateway.admin('POST', `/admin/v1/users?tenant=${tenant}`, {
    name,
    email: `${name}@${tenant.replace('_', '-')}.example`,
    role,
  })
  if (user.status !== 201) throw new Error(JSON.stringify(user.body))
  const path = `/admin/v1/users/${user.body.id}/tokens?tenant=${tenant}`
  const token = await gateway.admin('POST', path, {
    name: 'laptop',
    ...(fields.expiresAt === undefined ? {} : { expires_at: fields.expiresAt }),
  })
  if (token.status !== 201) throw new Error(JSON.stringify(token.body))
  return { id: user.body.id, token: token.body.secret, tokenId: token.body.id }
}
