import { describe, expect, it } from 'vitest'
import { sendRaw, serve } from '../rig.ts'

async function serving() {
  const served: string[] = []
  const { server } = await serve((request, response) => {
    served.push(request.url!)
    response.setHeader('connection', 'close').end()
  })
  return { served, ask: (text: string) => sendRaw(server.port, text) }
}

const status = (text: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1])
const NEXT = 'DELETE /next HTTP/1.1\r\nhost: a\r\n\r\n'

describe('after an answer that ends its connection', () => {
  it.each([
    ['two Hosts', 'GET /first HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
    ['no Host', 'GET /first HTTP/1.1\r\n\r\n', 400],
    ['the absolute form', 'GET http://evil.example/first HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['too many headers', `GET /first HTTP/1.1\r\nHost: a\r\n${'a: b\r\n'.repeat(200)}\r\n`, 431],
    ['a dot segment', 'GET /first/../x HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['a deadline that is none', 'GET /first HTTP/1.1\r\nHost: a\r\ninmesh-timeout-ms: x\r\n\r\n', 400],
    ['Host with userinfo', 'GET /first HTTP/1.1\r\nHost: a@b\r\n\r\n', 400],
  ])('serves nothing of what follows: %s', async (_what, text, expected) => {
    const { served, ask } = await serving()
    const answer = await ask(text + NEXT + NEXT)
    expect(status(answer)).toBe(expected)
    expect(answer.match(/HTTP\/1\.1 /g)).toHaveLength(1)
    expect(served).toEqual([])
  })

  it("nor behind a handler's own `connection: close`", async () => {
    const { served, ask } = await serving()
    await ask(`GET /first HTTP/1.1\r\nHost: a\r\n\r\n${NEXT}`)
    expect(served).toEqual(['/first'])
  })
})

describe('Host', () => {
  it.each(['inventory', 'inventory:80', 'INVENTORY.example', '127.0.0.1:8080', '[::1]', '[::1]:80', 'a_b', 'a:'])(
    'takes %s',
    async (host) => {
      const { ask } = await serving()
      expect(status(await ask(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`))).toBe(200)
    },
  )

  it.each([
    '',
    'inventory/admin?',
    'inventory/admin#',
    'inventory?x',
    'inventory#x',
    'a@inventory',
    'inventory\\admin?',
    '/admin?',
    'inventory:80/admin?',
    'inventory:http',
    'inventory:99999',
    'inventory:-1',
    'inventory:80:80',
    'x y',
    'inventory,evil',
    'inventory;evil',
    '[::1',
    '[::g]',
    '::1',
    '[fe80::1%25eth0]',
    '%61dmin',
    'b\u00fccher',
  ])('refuses %j before the handler', async (host) => {
    const { served, ask } = await serving()
    expect(status(await ask(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`))).toBe(400)
    expect(served).toEqual([])
  })

  it('may be absent from HTTP/1.0 only', async () => {
    const { ask } = await serving()
    expect(status(await ask('GET / HTTP/1.0\r\n\r\n'))).toBe(200)
  })
})

describe('the version of a request', () => {
  it.each(['0.9', '2.0'])('%s is refused before the handler, with what follows', async (version) => {
    const { served, ask } = await serving()
    expect(status(await ask(`GET / HTTP/${version}\r\nHost: a\r\n\r\n${NEXT}`))).toBe(505)
    expect(served).toEqual([])
  })
})

describe('the body of a request', () => {
  it.each([
    ['xchunked', '1.1', '', 501],
    ['gzip, chunked', '1.1', '', 501],
    ['chunked, chunked', '1.1', '', 501],
    ['identity', '1.1', '', 501],
    ['chunked', '1.0', '', 400],
    ['chunked', '1.1', 'Content-Length: 5\r\n', 400],
  ])('is refused with Transfer-Encoding %s by HTTP/%s %s', async (encoding, version, more, expected) => {
    const { served, ask } = await serving()
    const text = `POST /te HTTP/${version}\r\nHost: a\r\n${more}Transfer-Encoding: ${encoding}\r\n\r\n0\r\n\r\n${NEXT}`
    expect([400, expected]).toContain(status(await ask(text)))
    expect(served).toEqual([])
  })

  it('is taken with Transfer-Encoding chunked in any case', async () => {
    const { ask } = await serving()
    expect(status(await ask('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n'))).toBe(200)
  })
})

describe('headers that claim who the peer is', () => {
  it.each([
    'client-cert',
    'Client-Cert-Chain',
    'x-forwarded-client-cert',
    'X-SSL-Client-Cert',
    'x-ssl-client-s-dn',
    'ssl-client-verify',
    'ssl_client_cert',
    'x-client-cert',
    'x-client-verify',
    'x-forwarded-tls-client-cert-info',
    'x-amzn-mtls-clientcert-subject',
    'x-arr-clientcert',
    'x-envoy-peer-metadata-id',
    'l5d-client-id',
    'cf-client-cert-sha256',
    'x-ssl-issuer',
    'X-SSL-Subject-DN',
    'wl-proxy-client-cert',
    'Proxy-Client-Cert',
    'x-envoy-downstream-service-cluster',
  ])('%s never reaches a handler', async (name) => {
    let seen: string[] = []
    const { server } = await serve((request, response) => {
      seen = [...Object.keys(request.headers), ...request.rawHeaders.map((each) => each.toLowerCase())]
      response.setHeader('connection', 'close').end()
    })
    await sendRaw(server.port, `GET / HTTP/1.1\r\nHost: a\r\n${name}: admin\r\nx-request-id: 1\r\ncookie: a\r\n\r\n`)
    expect(seen).not.toContain(name.toLowerCase())
    expect(seen).toContain('x-request-id')
    expect(seen).toContain('cookie')
  })
})
