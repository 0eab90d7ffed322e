import { z } from 'zod'
import { createDocument } from 'zod-openapi'
import type { ZodOpenApiOperationObject, ZodOpenApiPathsObject } from 'zod-openapi'
import type { Resource } from './resource.ts'

const failure = z
  .looseObject({
    error: z.looseObject({
      message: z.string(),
      type: z.string(),
      code: z.string(),
      param: z.string().nullable(),
      request_id: z.string(),
    }),
  })
  .meta({ id: 'Error', description: 'One shape for every failure; `code` is stable' })

/** The OpenAPI 3.1 page of the routes, made of the schemas that validate them. */
export function describe(resources: readonly Resource[], version: string): object {
  const paths: Record<string, Record<string, ZodOpenApiOperationObject>> = {}
  for (const route of resources) {
    paths[route.path] = { ...paths[route.path], [route.method]: operation(route) }
  }
  return createDocument({
    openapi: '3.1.0',
    info: {
      title: 'Tollgate control plane',
      version,
      description: 'Keys, providers, models and costs of a Tollgate gateway.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ adminKey: [] }],
    components: { securitySchemes: { adminKey: { type: 'http', scheme: 'bearer' } } },
    paths: paths as ZodOpenApiPathsObject,
  })
}

function operation(route: Resource): ZodOpenApiOperationObject {
  const { method, path, permission, summary, params, query, body, response, status = 200 } = route
  const name = path
    .replace(/^\/(admin\/v1\/)?/, '')
    .replaceAll(/[{}]/g, '')
    .split(/[/.]/)
  return {
    operationId: [method, ...name].join('_'),
    summary,
    tags: [name[0] ?? 'system'],
    ...(permission === 'public'
      ? { security: [] }
      : { description: `Needs the permission \`${permission}\`.` }),
    ...((params || query) && {
      requestParams: { ...(params && { path: params }), ...(query && { query }) },
    }),
    ...(body && {
      requestBody: { required: true, content: { 'application/json': { schema: body } } },
    }),
    responses: {
      [status]: {
        description: 'Done',
        ...(response && { content: { 'application/json': { schema: response } } }),
      },
      default: { description: 'Refused', content: { 'application/json': { schema: failure } } },
    },
  }
}
