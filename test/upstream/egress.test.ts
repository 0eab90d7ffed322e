import { isIP } from 'node:net'
import { describe, expect, it } from 'vitest'
import {
  assertSameOrigin,
  checkBaseUrl,
  guardedConnector,
  guardedLookup,
  judge,
  refusal,
} from '../../src/upstream/egress.ts'

/** Hosts as someone may write them in a URL to reach this machine or its network. */
const PRIVATE_HOSTS = spellings({
  'Loopback in every spelling of IPv4': `
    127.0.0.1 127.1 127.0.1 127.255.255.254 127.0.0.1. 127.1. 0177.0.0.1 0177.1 0177.0.0.01
    00000177.0.0.1 017700000001 2130706433 2130706433. 0x7f.1 0x7f.0.0.1 0x7f000001 0x7F000001
    0X7f.0x0.0x0.0x1 0x7f.0.1 127.0x1 127.00.00.01 0x7f.1. 127%2e0%2e0%2e1 %31%32%37.0.0.1
    127。0。0。1 127．0．0．1 127｡0｡0｡1 ①②⑦.⓪.⓪.① １２７.0.0.1 𝟏𝟐𝟕.𝟎.𝟎.𝟏`,
  'This host, by 0': `
    0 0.0.0.0 0x0 00 0.0 0.1.2.3 000.000.000.000 0.0.0.0.`,
  'Loopback in IPv6, bare and holding IPv4': `
    [::1] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::0:1] [::] [0:0::0:0]
    [::ffff:127.0.0.1] [::ffff:7f00:1] [::FFFF:7F00:0001] [0:0:0:0:0:ffff:127.0.0.1] [::127.0.0.1]
    [::7f00:1] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b:1::127.0.0.1]
    [64:ff9b:1:ffff::a00:1] [2002:7f00:1::] [2002:7f00:0001::1] [2001:0:7f00:1::] [2001::80ff:fffe]
    [2001:0000:4136:e378:8000:63bf:80ff:fffe] [::ffff:0.0.0.0] [64:ff9b::] [::ffff:0:0]`,
  'Private networks': `
    10.0.0.1 10.255.255.255 10.1 012.0.0.1 0xa.0.0.1 167772161 172.16.0.1 172.31.255.255 172.16.1
    0xac.16.0.1 2886729729 192.168.0.1 192.168.1 192.168.257 0300.0250.0.1 3232235521 0xc0a80001
    [::ffff:10.0.0.1] [::ffff:c0a8:1] [::ffff:172.16.0.1] [64:ff9b::10.0.0.1] [64:ff9b::c0a8:101]
    [2002:a00:1::] [2002:c0a8:101::] [fc00::1] [fd00::1] [fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]
    [fec0::1]`,
  'Link-local, carrier-grade NAT': `
    169.254.1.1 169.254.0.0 [fe80::1] [febf::1] [::ffff:169.254.1.1] 100.64.0.1 100.127.255.255
    [::ffff:100.64.0.1] 1681915905`,
  'Multicast, broadcast, reserved, benchmarking, documentation': `
    224.0.0.1 239.255.255.255 [ff02::1] [ff0e::1] 255.255.255.255 4294967295 0xffffffff 240.0.0.1
    192.0.0.1 192.0.0.8 192.88.99.1 198.18.0.1 198.19.255.255 192.0.2.1 198.51.100.1 203.0.113.1
    [2001:db8::1] [3fff::1] [100::1] [2001:2::1] [2001:10::1] [2001:20::1] [5f00::1] [4000::1]
    [1::1] [::2] [::8.8.8.8] [::ffff:0:8.8.8.8] [2002:808:808::]`,
  'Metadata services': `
    169.254.169.254 0xa9fea9fe 2852039166 0251.0376.0251.0376 169.254.43518 [fd00:ec2::254]
    [::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [64:ff9b::a9fe:a9fe] 168.63.129.16 100.100.100.200
    169.254.170.2 [fd20:ce::254]`,
  'Names that always mean this machine': `
    localhost LOCALHOST localhost. LocalHost. foo.localhost a.b.localhost. ⓛocalhost localhost。`,
}).concat(['127.0\t.0.1', '127.0.0\n.1', 'loc\tal\nhost'])

const PUBLIC_ADDRESSES = spellings({
  'beside the refused ranges': `
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
    169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0
    198.17.255.255 198.20.0.0 223.255.255.255 2606:4700::6810:1 2a00:1450::1 2001:200::1
    2001:4860:4860::8888 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 3ffe:ffff::1`,
})

describe('checkBaseUrl', () => {
  it('knows at least 120 ways to write a private host', () => {
    expect(new Set(PRIVATE_HOSTS).size).toBeGreaterThanOrEqual(120)
  })

  it.each(PRIVATE_HOSTS)('refuses http://%j', (host) => {
    expect(() => checkBaseUrl(`http://${host}:8000/v1`, { allowPrivateNetwork: false })).toThrow(
      expect.objectContaining({ code: 'egress_refused' }),
    )
  })

  it.each([
    '[fe80::1%25eth0]',
    '[::1%lo]',
    '127.0.0.1%00',
    '1.2.3.4.5',
    '256.0.0.1',
    '4294967296',
    'a b',
    'a<b',
  ])('finds no host in %j', (host) => {
    expect(() => checkBaseUrl(`http://${host}/v1`, { allowPrivateNetwork: true })).toThrow(
      expect.objectContaining({ code: 'invalid_value' }),
    )
  })

  it.each([
    ['ftp://api.openai.com', 'must start with https:// or http://'],
    ['file:///etc/passwd', 'must start with https:// or http://'],
    ['unix:/run/docker.sock', 'must start with https:// or http://'],
    ['https://user:secret@api.openai.com', 'may not hold a user or password'],
    ['https://api.openai.com@evil.example', 'may not hold a user or password'],
    ['https://api.openai.com/v1?key=1', 'may not have a query or fragment'],
    ['https://api.openai.com/v1#', 'may not have a query or fragment'],
    ['api.openai.com', 'is no URL'],
  ])('refuses %s', (url, problem) => {
    expect(() => checkBaseUrl(url, { allowPrivateNetwork: true })).toThrow(problem)
  })

  it.each(['https://api.openai.com/v1', 'http://8.8.8.8', 'https://[2606:4700::1]/v1'])(
    'takes %s',
    (url) => {
      expect(checkBaseUrl(url, { allowPrivateNetwork: false }).href).toContain(url)
    },
  )

  it.each([
    'http://127.0.0.1:9000/v1',
    'http://localhost:11434',
    'http://[::1]:8000',
    'http://10.0.0.7',
  ])('takes %s where private networks are allowed', (url) => {
    expect(checkBaseUrl(url, { allowPrivateNetwork: true }).href).toContain(url)
  })

  it('names the host and the setting that allows it', () => {
    expect(() => checkBaseUrl('http://0x7f.1:9/v1', { allowPrivateNetwork: false })).toThrow(
      '127.0.0.1:9 leads to 127.0.0.1 (loopback); set `allow_private_network: true`',
    )
  })
})

describe('refusal', () => {
  it.each(PUBLIC_ADDRESSES)('lets %s pass', (address) => {
    expect(refusal(address)).toBeUndefined()
  })

  it.each(['fe80::1%eth0', '::1%lo', '', 'localhost', '0177.0.0.1', '1.2.3.4 ', '1.2.3.4\0'])(
    'does not let %j pass, whatever a resolver makes of it',
    (address) => {
      expect(refusal(address)).toBeDefined()
    },
  )
})

describe('judge', () => {
  it.each([
    [['8.8.8.8', '10.0.0.1']],
    [['10.0.0.1', '8.8.8.8']],
    [['8.8.8.8', '::1']],
    [['2606:4700::1', '192.168.0.1', '8.8.8.8']],
  ])('refuses a host of which one address is private: %j', (addresses) => {
    expect(() => judge('mixed.example', addresses, false)).toThrow(
      expect.objectContaining({ code: 'egress_refused', details: { request_sent: false } }),
    )
    expect(() => judge('mixed.example', addresses, true)).not.toThrow()
  })

  it.each(['169.254.169.254', 'fd00:ec2::254', '::ffff:169.254.169.254', '168.63.129.16'])(
    'refuses the metadata service %s even where private networks are allowed',
    (address) => {
      expect(() => judge('models.internal', [address], true)).toThrow('cloud metadata')
    },
  )
})

describe('guardedLookup', () => {
  it('gives only addresses it has judged, however DNS changes its mind', async () => {
    const answers = [
      ['8.8.8.8'],
      ['127.0.0.1'],
      ['8.8.4.4', '169.254.169.254'],
      ['1.1.1.1', '::1'],
      ['2606:4700::1'],
    ]
    let asked = 0
    const look = looker(async () => answers[asked++ % answers.length] ?? [])
    const outcomes = new Map<string, number>()
    for (let round = 0; round < 1000; round++) {
      const outcome = await look('rebind.example').catch((error: { code: string }) => error.code)
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    }
    expect(asked).toBe(1000)
    expect(Object.fromEntries(outcomes)).toEqual({
      '8.8.8.8': 200,
      '2606:4700::1': 200,
      egress_refused: 600,
    })
  })

  it('asks once for lookups of one name under way at once', async () => {
    let asked = 0
    const look = looker(async () => {
      asked++
      return ['8.8.8.8']
    })
    await Promise.all([look('a.example'), look('a.example'), look('b.example')])
    expect(asked).toBe(2)
  })

  it('passes the resolver’s error on, and one of its own for a name without address', async () => {
    const failing = looker(() =>
      Promise.reject(Object.assign(new Error('no'), { code: 'EAI_AGAIN' })),
    )
    await expect(failing('a.example')).rejects.toMatchObject({ code: 'EAI_AGAIN' })
    await expect(looker(async () => [])('a.example')).rejects.toMatchObject({ code: 'ENOTFOUND' })
  })
})

describe('guardedConnector', () => {
  it('judges addresses that need no lookup', () => {
    const connect = guardedConnector({
      resolve: () => Promise.reject(new Error('not to be asked')),
      allowPrivateNetwork: false,
      timeoutMs: 1000,
    })
    const target = { hostname: '127.0.0.1', protocol: 'http:', port: '1' }
    expect(() => connect(target, () => {})).toThrow(
      expect.objectContaining({ code: 'egress_refused' }),
    )
  })
})

describe('assertSameOrigin', () => {
  const base = 'https://api.example.com/v1'

  it.each([
    'https://api.example.com/v1/chat',
    'https://API.example.com:443/other?x=1',
    'https://api.example.com/v1/models/https://evil.example',
  ])('lets %s pass', (url) => {
    expect(() => assertSameOrigin(url, base)).not.toThrow()
  })

  it.each([
    'http://api.example.com/v1',
    'https://api.example.com:8443/v1',
    'https://evil.example/v1',
    'https://api.example.com@evil.example/v1',
    'https://api.example.com.evil.example/',
    'https://api.example.comevil/',
    'https:\\\\evil.example\\@api.example.com',
    '//api.example.com/v1',
    'file:///v1',
    'data:,x',
    '',
  ])('refuses %s', (url) => {
    expect(() => assertSameOrigin(url, base)).toThrow(
      expect.objectContaining({ code: 'egress_refused', retryable: false }),
    )
  })

  it('never takes two opaque origins for the same', () => {
    expect(() => assertSameOrigin('file:///a', 'file:///a')).toThrow('not to')
  })
})

function spellings(groups: Readonly<Record<string, string>>): string[] {
  return Object.values(groups).flatMap((words) => words.trim().split(/ +|\n +/))
}

/** What a socket would connect to first. */
function looker(resolve: (hostname: string) => Promise<readonly string[]>) {
  const lookup = guardedLookup(resolve, false)
  return (hostname: string): Promise<string> =>
    new Promise((done, fail) => {
      lookup(hostname, { all: true }, (error, found) => {
        if (error !== null) return fail(error)
        const first = Array.isArray(found) ? found[0] : undefined
        return first === undefined || first.family !== isIP(first.address)
          ? fail(new Error('odd answer'))
          : done(first.address)
      })
    })
}
