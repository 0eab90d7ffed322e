import { gzipSync } from 'node:zlib'
import type { RequestListener, ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { fetchMedia } from '../../src/upstream/media.ts'
import type { MediaOptions } from '../../src/upstream/media.ts'
import { httpServer, upstream } from './stand-in.ts'

const PNG = Buffer.from('\x89PNG\r\n\x1a\n and the rest', 'latin1')

describe('fetchMedia', () => {
  it('gives the bytes and their type, and asks with no credential', async () => {
    let asked: readonly string[] = []
    const { url } = await httpServer((request, response) => {
      asked = Object.keys(request.headers).toSorted()
      response.writeHead(200, { 'content-type': 'image/PNG; charset=x' }).end(PNG)
    })
    const media = await fetchMedia(upstream(), `${url}/a.png?sig=s`, options())
    expect(media).toEqual({ mediaType: 'image/png', base64: PNG.toString('base64') })
    expect(asked).toEqual(['accept', 'accept-encoding', 'connection', 'host', 'user-agent'])
  })

  it.each([
    ['application/pdf', '%PDF-', 'application/pdf'],
    ['audio/mpeg', 'x', 'audio/mpeg'],
    ['video/mp4', 'x', 'video/mp4'],
    ['text/plain; charset=utf-8', 'x', 'text/plain'],
    ['image/svg+xml', '<svg/>', 'image/svg+xml'],
    ['application/octet-stream', '%PDF-1.7', 'application/pdf'],
    ['binary/octet-stream', '\xff\xd8\xff\xe0', 'image/jpeg'],
    [undefined, 'GIF89a', 'image/gif'],
    [undefined, 'RIFF\0\0\0\0WEBPVP8 ', 'image/webp'],
  ])('reads the type %s of %j as %s', async (type, body, expected) => {
    const { url } = await httpServer((_request, response) => {
      if (type !== undefined) response.setHeader('content-type', type)
      response.end(Buffer.from(body, 'latin1'))
    })
    expect((await fetchMedia(upstream(), url, options())).mediaType).toBe(expected)
  })

  it('follows three redirects, not four', async () => {
    const { url } = await httpServer((request, response) => {
      const left = Number(request.url?.slice(1))
      if (left === 0) image(response)
      else response.writeHead(302, { location: `/${left - 1}` }).end()
    })
    expect((await fetchMedia(upstream(), `${url}/3`, options())).mediaType).toBe('image/png')
    await expect(fetchMedia(upstream(), `${url}/4`, options())).rejects.toThrow('more than 3 times')
  })

  it.each([
    'file:///etc/passwd',
    'ftp://a.example/',
    'data:image/png;base64,AA',
    'http://u:p@a/',
    'x y',
  ])('does not fetch %s, nor is led there', async (location) => {
    const { url } = await httpServer((_request, response) => {
      response.writeHead(302, { location: encodeURI(location) }).end()
    })
    await expect(fetchMedia(upstream(), location, options())).rejects.toMatchObject(REFUSED)
    await expect(fetchMedia(upstream(), url, options())).rejects.toMatchObject(REFUSED)
  })

  it('does not let itself be led to a private address, and tells no more than that', async () => {
    const inside = await httpServer((_request, response) => image(response))
    const targets = [inside.url, 'http://169.254.169.254/latest', 'http://rebound.example/']
    for (const location of targets) {
      const way = upstream({ resolve: async () => ['10.0.0.1'] })
      const error = fetchMedia(way, location, { ...options(), allowPrivateNetwork: false })
      await expect(error).rejects.toMatchObject({
        ...REFUSED,
        message: expect.stringMatching(/could not be fetched: it is not on the public internet$/),
      })
    }
    expect(inside.connections()).toBe(0)
  })

  it('judges every hop anew', async () => {
    let hops = 0
    const { url } = await httpServer((_request, response) => {
      hops++
      response.writeHead(307, { location: 'http://169.254.169.254/latest/meta-data' }).end()
    })
    await expect(fetchMedia(upstream(), url, options())).rejects.toThrow(
      'not on the public internet',
    )
    expect(hops).toBe(1)
  })

  it.each<[string, RequestListener, string]>([
    [
      'an error',
      (_request, response) => response.writeHead(404).end('x'),
      'its server answered 404',
    ],
    [
      'a partial answer',
      (_request, response) => response.writeHead(206).end('x'),
      'its server answered 206',
    ],
    [
      'a redirect to nowhere',
      (_request, response) => response.writeHead(302).end(),
      'its server answered 302',
    ],
    [
      'a page',
      (_request, response) => html(response),
      'its type `text/html` is none that models take',
    ],
    [
      'a script',
      (_request, response) => response.setHeader('content-type', 'image/png\x09x').end(),
      'is none',
    ],
    [
      'too much',
      (_request, response) => image(response, Buffer.alloc(2000)),
      'more than 1000 bytes',
    ],
    ['too much, compressed', (_request, response) => bomb(response), 'more than 1000 bytes'],
    ['silence', () => {}, 'it took too long'],
    ['a broken connection', (request) => request.socket.destroy(), 'closed the connection'],
  ])('refuses %s', async (_name, answer, reason) => {
    const { url } = await httpServer(answer)
    const fetching = fetchMedia(upstream(), `${url}/x?token=secret`, {
      ...options(),
      maxBytes: 1000,
      timeoutMs: 300,
    })
    const error: unknown = await fetching.catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ ...REFUSED, message: expect.stringContaining(reason) })
    expect(error).toMatchObject({ message: expect.not.stringContaining('secret') })
  })

  it('ends with the caller’s reason when the caller leaves', async () => {
    const { url } = await httpServer(() => {})
    const controller = new AbortController()
    const fetching = fetchMedia(upstream(), url, { ...options(), signal: controller.signal })
    setTimeout(() => controller.abort('left'), 20)
    await expect(fetching).rejects.toBe('left')
  })
})

const REFUSED = { code: 'invalid_value', retryable: false }

function options(): MediaOptions {
  return { signal: new AbortController().signal, maxBytes: 100_000, allowPrivateNetwork: true }
}

function image(response: ServerResponse, body = PNG): void {
  response.writeHead(200, { 'content-type': 'image/png' }).end(body)
}

function html(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/html' }).end('<p>')
}

function bomb(response: ServerResponse): void {
  response.setHeader('content-encoding', 'gzip')
  image(response, gzipSync(Buffer.alloc(2000)))
}
