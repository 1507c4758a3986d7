/**
 * The plain API over real TLS sockets: joining, tokens, policies, rights, and what happens to
 * nonsense.
 */
import { X509Certificate } from 'node:crypto'
import http2 from 'node:http2'
import https from 'node:https'
import { connect } from 'node:tls'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createAuthority, issueCertificate } from '../../../src/identity/certificate.ts'
import { generateIdentityKey } from '../../../src/identity/key.ts'
import { ROUTES } from '../../../src/registry/api/routes.ts'
import { type Registry, startRegistry } from '../../../src/registry/index.ts'
import { StorageError } from '../../../src/registry/storage/errors.ts'
import { MemoryStorage } from '../../../src/registry/storage/memory.ts'
import { instance } from '../../rigs/instance.ts'
import { csrOf, join, newKey, request, TestSession } from '../../rigs/registry-session.ts'

let registry: Registry
const OPTIONS = {
  ...{ port: 0, memory: true, log: false, joinsPerSecond: 1_000, signingsPerSecond: 1_000 },
  // Two hundred sessions of one test send no heartbeats.
  lease: '10m',
} as const

beforeEach(async () => {
  registry = await startRegistry(OPTIONS)
})

afterEach(async () => {
  await registry.close()
})

const admin = { admin: true } as const

async function audit(): Promise<{ action: string; outcome: string; reason?: string; service?: string; who: string }[]> {
  return (await request(registry, 'GET', '/v1/audit', admin)).json.audit
}

function joinRequest(service: string, token: string | undefined, csr = csrOf(newKey())) {
  return request(registry, 'POST', '/v1/join', { body: { service, csr, token } })
}

describe('joining', () => {
  test('gives a certificate whose every name comes from the registry', async () => {
    const token = await registry.createJoinToken({ service: 'checkout' })
    const { status, json } = await joinRequest('checkout', token)
    expect(status).toBe(200)
    expect(json).toMatchObject({ trustDomain: 'inmesh.local', roots: registry.roots, sequence: 1 })
    const certificate = new X509Certificate(json.certificate)
    expect(certificate.subjectAltName).toBe('URI:spiffe://inmesh.local/service/checkout')
    expect(certificate.ca).toBe(false)
    const intermediate = new X509Certificate(json.intermediates[0])
    expect(certificate.verify(intermediate.publicKey)).toBe(true)
    expect(intermediate.verify(new X509Certificate(registry.roots[0]!).publicKey)).toBe(true)
    expect(json.certificate).toContain(json.intermediates[0].trim())
    const life = Date.parse(certificate.validTo) - Date.now()
    expect(life).toBeGreaterThan(23.9 * 3_600_000)
    expect(life).toBeLessThan(24.1 * 3_600_000)
    expect(Date.now() - Date.parse(certificate.validFrom)).toBeGreaterThan(59_000)
  })

  test('lets one of ten concurrent joins with a token for one use through; the rest are refused and audited', async () => {
    const token = await registry.createJoinToken({ service: 'checkout' })
    const answers = await Promise.all(Array.from({ length: 10 }, () => joinRequest('checkout', token)))
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1)
    for (const answer of answers.filter((one) => one.status !== 200)) {
      expect(answer.status).toBe(401)
      expect(answer.json.error.code).toBe('token-used')
    }
    const entries = (await audit()).filter((entry) => entry.action === 'join')
    expect(entries.filter((entry) => entry.outcome === 'done')).toHaveLength(1)
    expect(entries.filter((entry) => entry.reason === 'token-used')).toHaveLength(9)
  })

  test('takes exactly as many as a token has uses', async () => {
    const token = await registry.createJoinToken({ service: 'checkout', uses: 3 })
    const answers = await Promise.all(Array.from({ length: 8 }, () => joinRequest('checkout', token)))
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(3)
  })

  test('refuses and audits a token for another service, an unknown one, an expired one, none, and a bad request', async () => {
    const token = await registry.createJoinToken({ service: 'checkout', uses: 100 })
    const short = await registry.createJoinToken({ service: 'checkout', ttl: '1s' })
    const unknown = `inmesh-join.${'A'.repeat(27)}.${'B'.repeat(43)}`
    const cases: [string, Promise<{ json: { error: { code: string } } }>][] = [
      ['token-wrong-service', joinRequest('payments', token)],
      ['token-unknown', joinRequest('checkout', unknown)],
      ['token-missing', joinRequest('checkout', undefined)],
      ['csr-invalid', joinRequest('checkout', token, 'nonsense')],
      ['invalid-request', joinRequest('../../root', token)],
      ['invalid-request', joinRequest('mesh', token)],
    ]
    for (const [code, answer] of cases) expect((await answer).json.error.code).toBe(code)
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    expect((await joinRequest('checkout', short)).json.error.code).toBe('token-expired')
    const reasons = (await audit()).filter((entry) => entry.action === 'join').map((entry) => entry.reason)
    for (const code of [...cases.map(([one]) => one), 'token-expired']) expect(reasons).toContain(code)
    // None of these cost a use.
    const { tokens } = (await request(registry, 'GET', '/v1/tokens', admin)).json
    expect(tokens.map((one: { usesLeft: number }) => one.usesLeft).sort()).toEqual([1, 100])
  })

  test('is limited per source', async () => {
    await registry.close()
    registry = await startRegistry({ ...OPTIONS, joinsPerSecond: 1 })
    const answers = await Promise.all(Array.from({ length: 25 }, () => joinRequest('a', undefined)))
    const limited = answers.filter((answer) => answer.status === 429)
    expect(limited.length).toBeGreaterThanOrEqual(5)
    expect(limited[0]!.json.error.code).toBe('rate-limited')
    expect(limited[0]!.headers['retry-after']).toBeDefined()
  })

  test('renews with the certificate in force, for the same service only, and not without one', async () => {
    const credentials = await join(registry, 'checkout')
    const { status, json } = await request(registry, 'POST', '/v1/renew', {
      body: { csr: csrOf(newKey()) },
      credentials,
    })
    expect(status).toBe(200)
    expect(new X509Certificate(json.certificate).subjectAltName).toBe('URI:spiffe://inmesh.local/service/checkout')
    const without = await request(registry, 'POST', '/v1/renew', { body: { csr: csrOf(newKey()) } })
    expect(without.json.error.code).toBe('identity-required')
  })

  test('needs no token with a registry for development, which refuses to be reached from elsewhere', async () => {
    await registry.close()
    registry = await startRegistry({ ...OPTIONS, dev: true })
    expect((await joinRequest('checkout', undefined)).status).toBe(200)
    expect((await request(registry, 'GET', '/v1/tokens')).status).toBe(200)
    const session = await TestSession.open(registry, 'checkout')
    expect((await session.next('welcome')).dev).toBe(true)
    session.close()
    await expect(startRegistry({ ...OPTIONS, dev: true, address: '0.0.0.0' })).rejects.toThrow(/loopback/)
    const rebound = await request(registry, 'POST', '/v1/join', {
      body: { service: 'checkout', csr: csrOf(newKey()) },
      headers: { host: 'evil.example:7400' },
    })
    expect(rebound.json.error.code).toBe('host-refused')
  })
})

describe('the registry itself', () => {
  test('presents its own identity and the root, so that a joiner can check the fingerprint', async () => {
    const socket = connect({ host: '127.0.0.1', port: registry.port, ca: [...registry.roots], servername: 'localhost' })
    await new Promise((resolve, reject) => {
      socket.once('secureConnect', resolve)
      socket.once('error', reject)
    })
    const leaf = socket.getPeerX509Certificate()!
    expect(leaf.subjectAltName).toContain('URI:spiffe://inmesh.local/registry')
    expect(leaf.subjectAltName).toContain('IP Address:127.0.0.1')
    expect(leaf.issuerCertificate?.issuerCertificate?.toString().trim()).toBe(registry.roots[0]!.trim())
    socket.destroy()
  })

  test('answers whoever shows a certificate that it does not trust with why, and audits it', async () => {
    const now = Date.now()
    const foreign = createAuthority({ trustDomain: 'inmesh.local', notBefore: now, notAfter: now + 3_600_000 })
    const { privateKey, publicKey } = await generateIdentityKey()
    const cert = issueCertificate(foreign, {
      publicKey,
      spiffeId: 'spiffe://inmesh.local/service/checkout',
      notBefore: now - 60_000,
      notAfter: now + 60_000,
    })
    const credentials = { key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, cert }
    for (const path of ['/v1/services', '/healthz']) {
      expect(await request(registry, 'GET', path, { credentials })).toMatchObject({
        status: 401,
        headers: { connection: 'close' },
        json: { error: { code: 'identity-required', message: expect.stringContaining('untrusted-issuer') } },
      })
    }
    expect((await audit())[0]).toMatchObject({ action: 'connect', outcome: 'refused', reason: 'untrusted-issuer' })
  })

  test('renews its own certificate while it runs', async () => {
    await registry.close()
    registry = await startRegistry({ ...OPTIONS, certificateLife: 5_000 })
    const serial = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connect({
          host: '127.0.0.1',
          port: registry.port,
          // One that has ended on a busy machine is renewed, too.
          rejectUnauthorized: false,
        })
        socket.once('error', reject)
        socket.once('secureConnect', () => {
          resolve(socket.getPeerX509Certificate()!.serialNumber)
          socket.destroy()
        })
      })
    const first = await serial()
    await expect.poll(serial, { timeout: 30_000, interval: 100 }).not.toBe(first)
  })

  test('answers health, readiness, the bundle and metrics', async () => {
    expect((await request(registry, 'GET', '/healthz')).status).toBe(200)
    expect((await request(registry, 'GET', '/readyz')).status).toBe(200)
    expect((await request(registry, 'GET', '/v1/bundle')).json).toEqual({
      trustDomain: 'inmesh.local',
      sequence: 1,
      roots: registry.roots,
      intermediates: [expect.stringContaining('BEGIN CERTIFICATE')],
      denied: [],
      wallNow: expect.any(Number),
    })
    const metrics = await request(registry, 'GET', '/metrics', admin)
    expect(metrics.text).toMatch(/^inmesh_registry_instances 0$/m)
  })

  test('refuses wrong options by name, and a port that is taken', async () => {
    const wrong = { port: -1, lease: 'soon', trustDomain: 'UPPER', lese: 3 } as never
    const error = await startRegistry(wrong).catch((reason: unknown) => reason)
    for (const name of ['port', 'lease', 'trustDomain', 'lese']) expect(String(error)).toContain(name)
    await expect(startRegistry({ ...OPTIONS, port: registry.port })).rejects.toThrow(/in use/)
    await expect(registry.createJoinToken({ service: 'No Such', uses: 0 })).rejects.toThrow(
      /service.*uses|uses.*service/,
    )
  })
})

describe('rights', () => {
  test('strangers may read nothing, services may read, only the admin may see and change the rest', async () => {
    const credentials = await join(registry, 'checkout')
    for (const { method, path, access } of ROUTES) {
      const concrete = path.source
        .replace(/^\^|\$$/g, '')
        .replaceAll(/\(\[.*?\)/g, 'inventory')
        .replaceAll('\\/', '/')
      const asStranger = await request(registry, method, concrete)
      if (access === 'public') continue
      expect([401, 403], `${method} ${concrete} as a stranger`).toContain(asStranger.status)
      if (access !== 'admin') continue
      const asService = await request(registry, method, concrete, { credentials })
      expect(asService.status, `${method} ${concrete} as a service`).toBe(403)
    }
    expect((await request(registry, 'GET', '/v1/services', { credentials })).status).toBe(200)
    const wrong = { headers: { authorization: `Bearer inmesh-admin.${'A'.repeat(27)}.${'B'.repeat(43)}` } }
    expect((await request(registry, 'GET', '/v1/audit', wrong)).json.error.code).toBe('admin-required')
    expect((await audit()).some((entry) => entry.reason === 'admin-required')).toBe(true)
  })

  test('no page of another origin or another name may read or change anything', async () => {
    const body = { service: 'inventory', timeout: '1s' }
    const evil = await request(registry, 'PUT', '/v1/policies/inventory', {
      ...admin,
      body,
      headers: { origin: 'https://evil.example', authorization: `Bearer ${registry.adminToken}` },
    })
    expect(evil.json.error.code).toBe('origin-refused')
    const rebound = await request(registry, 'GET', '/v1/policies', {
      ...admin,
      headers: { host: 'evil.example', authorization: `Bearer ${registry.adminToken}` },
    })
    expect(rebound.json.error.code).toBe('host-refused')
    for (const headers of [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      // An image, a script or a frame of another page; another port of this machine.
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
    ]) {
      for (const path of ['/v1/policies', '/v1/traffic/graph', '/v1/traffic/stream', '/metrics']) {
        const read = await request(registry, 'GET', path, { ...admin, headers })
        expect([path, read.status, read.json.error.code]).toEqual([path, 403, 'origin-refused'])
        expect(read.headers['cross-origin-resource-policy']).toBe('same-origin')
      }
    }
    const typed = await request(registry, 'GET', '/v1/policies', { ...admin, headers: { 'sec-fetch-site': 'none' } })
    expect(typed.status).toBe(200)
    expect((await request(registry, 'GET', '/v1/policies', admin)).json).toEqual({ policies: [] })
  })
})

describe('policies', () => {
  const apply = (documents: unknown, query = '') =>
    request(registry, 'POST', `/v1/policies${query}`, { ...admin, body: { documents } })

  test('are applied all or none; a mistake is told with its path', async () => {
    const answer = await apply([
      { service: 'a', timeout: '1s' },
      { service: 'b', timout: '1s' },
    ])
    expect(answer.status).toBe(422)
    expect(answer.json.error).toMatchObject({ code: 'invalid-policy', issues: [{ path: [1, 'timout'] }] })
    expect(answer.json.error.issues[0].message).toContain("'timeout'")
    expect((await request(registry, 'GET', '/v1/policies', admin)).json.policies).toEqual([])
    const twice = await apply([{ service: 'a' }, { service: 'a' }])
    expect(twice.json.error.issues[0].path).toEqual([1, 'service'])
  })

  test('can be tried without changing anything', async () => {
    const before = registry.revision
    const { json } = await apply([{ service: 'a', timeout: '1s' }], '?dryRun=1')
    expect(json.changes).toEqual([
      { service: 'a', change: 'created', version: 1, before: null, after: { service: 'a', timeout: '1s' } },
    ])
    expect(registry.revision).toBe(before)
  })

  test('keep their versions, 20 of them, over changes, deletion and rollback', async () => {
    for (let i = 1; i <= 25; i++) await apply([{ service: 'a', timeout: `${i}s` }])
    expect((await apply([{ service: 'a', timeout: '25s' }])).json.changes[0].change).toBe('unchanged')
    const other = [{ service: 'order', timeout: '1s', retry: { attempts: 3, perTryTimeout: '200ms' } }]
    const same = [{ retry: { perTryTimeout: '200ms', attempts: 3 }, timeout: '1s', service: 'order' }]
    expect((await apply(other)).json.changes[0].change).toBe('created')
    expect((await apply(same)).json.changes[0].change).toBe('unchanged')
    expect((await request(registry, 'GET', '/v1/policies/a', admin)).json).toMatchObject({ version: 25, by: 'admin' })
    const { versions } = (await request(registry, 'GET', '/v1/policies/a/history', admin)).json
    expect(versions.map((one: { version: number }) => one.version)).toEqual(
      Array.from({ length: 20 }, (_, i) => 25 - i),
    )

    expect((await request(registry, 'DELETE', '/v1/policies/a', admin)).json).toMatchObject({
      change: 'deleted',
      version: 26,
    })
    expect((await request(registry, 'GET', '/v1/policies/a', admin)).status).toBe(404)
    const back = await request(registry, 'POST', '/v1/policies/a/rollback', { ...admin, body: { version: 24 } })
    expect(back.json).toMatchObject({ change: 'created', version: 27, after: { service: 'a', timeout: '24s' } })
    const gone = await request(registry, 'POST', '/v1/policies/a/rollback', { ...admin, body: { version: 2 } })
    expect(gone.json.error.code).toBe('not-found')
  })

  test('are put one by one, by the version that is in force if the caller says so', async () => {
    const put = (body: unknown, headers = {}) =>
      request(registry, 'PUT', '/v1/policies/a', {
        body,
        headers: { authorization: `Bearer ${registry.adminToken}`, ...headers },
      })
    expect((await put({ timeout: '1s' })).json).toMatchObject({ change: 'created', version: 1 })
    expect((await put({ timeout: '2s' }, { 'if-match': '"1"' })).json).toMatchObject({ version: 2 })
    expect((await put({ timeout: '3s' }, { 'if-match': '"1"' })).json.error.code).toBe('conflict')
    expect((await put({ service: 'b', timeout: '3s' })).json.error.issues[0].path).toEqual(['service'])
  })
})

describe('tokens', () => {
  test('are shown once, listed without their secret, and worthless after they were deleted', async () => {
    const made = await request(registry, 'POST', '/v1/tokens', {
      ...admin,
      body: { service: 'checkout', ttlMs: 60_000, uses: 2 },
    })
    expect(made.status).toBe(201)
    expect(made.json.token).toMatch(new RegExp(`^inmesh-join\\.[\\w-]{27}\\.${registry.rootFingerprint}$`))
    const listed = await request(registry, 'GET', '/v1/tokens', admin)
    expect(listed.json.tokens).toMatchObject([{ id: made.json.id, service: 'checkout', usesLeft: 2 }])
    expect(listed.text).not.toContain(made.json.token.split('.')[1])
    expect((await request(registry, 'DELETE', `/v1/tokens/${made.json.id}`, admin)).status).toBe(200)
    expect((await joinRequest('checkout', made.json.token)).json.error.code).toBe('token-unknown')
    expect((await request(registry, 'DELETE', `/v1/tokens/${made.json.id}`, admin)).status).toBe(404)
    expect(JSON.stringify(await audit())).not.toContain(made.json.token.split('.')[1])
  })
})

describe('scripts', () => {
  test('list services and wait for changes of one', async () => {
    const session = await TestSession.open(registry, 'inventory')
    await session.ask({ type: 'register', instance: instance('inventory', 'i1') })
    const list = (await request(registry, 'GET', '/v1/services', admin)).json
    expect(list.services).toMatchObject([{ service: 'inventory', instances: 1, ready: 1, frozen: false }])
    const now = await request(registry, 'GET', '/v1/services/inventory', admin)
    expect(now.headers['inmesh-epoch']).toBe(registry.epoch)
    const { revision } = now.json
    expect(now.headers['inmesh-revision']).toBe(String(revision))

    const waiting = request(registry, 'GET', `/v1/services/inventory?since=${revision}&wait=20s`, admin)
    await new Promise((resolve) => setTimeout(resolve, 50))
    await session.ask({ type: 'register', instance: instance('inventory', 'i2') })
    expect((await waiting).json.instances).toHaveLength(2)
    const nothing = await request(registry, 'GET', `/v1/services/inventory?since=${registry.revision}&wait=50ms`, admin)
    expect(nothing.json.instances).toHaveLength(2)
    expect((await request(registry, 'GET', '/v1/services/nobody', admin)).status).toBe(404)
    session.close()
  })

  /** An event stream, with what came. */
  function events(path: string, headers: Record<string, string> = {}) {
    const received: { data: { type: string; service: string; put?: { id: string }[] }; id: string }[] = []
    const outgoing = https.get(new URL(path, registry.url), {
      ca: [...registry.roots],
      servername: 'localhost',
      agent: false,
      headers: { authorization: `Bearer ${registry.adminToken}`, ...headers },
    })
    outgoing.on('error', () => {})
    outgoing.on('response', (response) => {
      expect(response.headers['content-type']).toBe('text/event-stream')
      let rest = ''
      response.setEncoding('utf8')
      response.on('error', () => {})
      response.on('data', (text: string) => {
        const parts = (rest + text).split('\n\n')
        rest = parts.pop()!
        for (const part of parts) {
          const [, data, id] = /^data: (.*)\nid: (.*)$/.exec(part)!
          received.push({ data: JSON.parse(data!), id: id! })
        }
      })
    })
    return { received, close: () => outgoing.destroy() }
  }

  test('watch several services as server-sent events, and resume after the last one they have seen', async () => {
    const session = await TestSession.open(registry, 'inventory')
    const path = '/v1/watch?service=inventory,prices'
    const first = events(path)
    await session.until(() => first.received.length >= 2)
    await session.ask({ type: 'register', instance: instance('inventory', 'i1') })
    await session.until(() => first.received.length >= 3)
    expect(first.received.map(({ data }) => [data.type, data.service])).toEqual([
      ['snapshot', 'inventory'],
      ['snapshot', 'prices'],
      ['delta', 'inventory'],
    ])
    first.close()
    await session.until(() => registry.counts.watchers === 0)
    await session.ask({ type: 'register', instance: instance('inventory', 'i2') })

    const resumed = events(path, { 'last-event-id': first.received[2]!.id })
    await session.until(() => resumed.received.length >= 2)
    expect(resumed.received.map(({ data }) => [data.type, data.put?.map(({ id }) => id)])).toEqual([
      ['delta', ['i2']],
      ['delta', undefined],
    ])
    const since = events(`/v1/watch?service=inventory&since=${registry.revision}&epoch=${registry.epoch}`)
    const others = ['nonsense', `other-epoch:1.1`, `${registry.epoch}:1`, `${registry.epoch}:999999.1`].map((id) =>
      events(path, { 'last-event-id': id }),
    )
    await session.until(() => since.received.length >= 1 && others.every(({ received }) => received.length >= 2))
    expect(since.received[0]!.data.type).toBe('delta')
    for (const { received } of others) expect(received.some(({ data }) => data.type === 'snapshot')).toBe(true)
    for (const stream of [resumed, since, ...others]) stream.close()
    await session.until(() => registry.counts.watchers === 0)
    session.close()
  })
})

describe('a store that cannot be written', () => {
  test('is told as 503 storage-unavailable, to operators and to sessions, without its reason', async () => {
    const session = await TestSession.open(registry, 'inventory')
    const broken = vi
      .spyOn(MemoryStorage.prototype, 'transact')
      .mockRejectedValue(new StorageError('cannot write: /secret/place is full'))
    try {
      const answer = await request(registry, 'PUT', '/v1/policies/inventory', { ...admin, body: { timeout: '1s' } })
      expect(answer.status).toBe(503)
      expect(answer.headers['retry-after']).toBe('1')
      expect(answer.json.error.code).toBe('storage-unavailable')
      expect(answer.text).not.toContain('secret')
      const refused = await session.ask({ type: 'register', instance: instance('inventory', 'i1') })
      expect(refused).toMatchObject({ type: 'error', code: 'storage-unavailable' })
    } finally {
      broken.mockRestore()
    }
    expect((await session.ask({ type: 'register', instance: instance('inventory', 'i1') })).type).toBe('done')
    session.close()
  })
})

describe('what two readers would read differently is refused', () => {
  test.each([
    '/v1/x/../tokens',
    '/v1/./tokens',
    '/v1/%2e/tokens',
    '//evil/v1/tokens',
    '/v1\\tokens',
    'https://evil/v1/tokens',
    '/v1/tokens#x',
  ])('the target %s', async (target) => {
    expect((await request(registry, 'GET', target, admin)).status).toBe(400)
  })

  test('a key that is there twice, and a body in another encoding', async () => {
    const twice = await request(registry, 'POST', '/v1/tokens', {
      ...admin,
      raw: '{"service":"a","\\u0073ervice":"b"}',
    })
    expect([twice.status, twice.json.error.message]).toEqual([
      400,
      "the body has the key 'service' twice in one object",
    ])
    const headers = { 'content-encoding': 'gzip' }
    const packed = await request(registry, 'POST', '/v1/tokens', { ...admin, headers, raw: '{"service":"a"}' })
    expect([packed.status, packed.json.error.message]).toEqual([400, expect.stringContaining('Content-Encoding gzip')])
  })
})

describe('nonsense', () => {
  const bodies = [
    '',
    'null',
    '[]',
    '{}',
    '"x"',
    '{',
    '<html>',
    '{"__proto__":{"polluted":1}}',
    '[[[[',
    '{"documents":[null,1,"x",[]]}',
    '{"service":{},"csr":[],"token":1}',
    '['.repeat(200_000),
  ]

  test('sent to every path is answered with 4xx and changes nothing', async () => {
    await request(registry, 'GET', '/v1/audit', admin)
    const fingerprint = async (): Promise<string> =>
      JSON.stringify([
        (await request(registry, 'GET', '/v1/policies', admin)).json,
        (await request(registry, 'GET', '/v1/tokens', admin)).json,
        (await request(registry, 'GET', '/v1/services', admin)).json.services,
      ])
    const before = await fingerprint()
    const targets: [string, string][] = ROUTES.filter((route) => route.method !== 'GET').map(({ method, path }) => [
      method,
      path.source
        .replace(/^\^|\$$/g, '')
        .replaceAll(/\(\[.*?\)/g, 'nobody')
        .replaceAll('\\/', '/'),
    ])
    for (const [method, path] of targets) {
      for (const raw of bodies) {
        // An empty document is a policy: it says that the defaults hold.
        if (method === 'PUT' && raw === '{}') continue
        const answer = await request(registry, method, path, { ...admin, raw })
        expect(answer.status, `${method} ${path} ${raw.slice(0, 40)}: ${answer.text}`).toBeGreaterThanOrEqual(400)
        expect(answer.status).toBeLessThan(500)
        expect(answer.json.error.code).toBeTruthy()
      }
    }
    expect(await fingerprint()).toBe(before)
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
  })

  test.each([
    ['GET', '/nothing', 404],
    ['GET', '/v1/services/UPPER', 404],
    ['GET', '/v1/services/%2e%2e', 400],
    ['PATCH', '/v1/policies', 405],
    ['GET', '/v1/services/a?wait=soon', 400],
    ['GET', '/v1/services/a?since=-1', 400],
    ['GET', '/v1/watch', 400],
    ['GET', '/v1/watch?service=a,,b', 400],
    ['POST', '/v1/session', 400],
  ])('%s %s is answered with %i', async (method, path, status) => {
    expect((await request(registry, method, path, admin)).status).toBe(status)
  })

  test('a method that a path does not have is answered with those it has', async () => {
    const { error } = (await request(registry, 'PUT', '/v1/tokens', admin)).json
    expect(error.message).toMatch(/^\/v1\/tokens does not allow PUT; use (GET or POST|POST or GET)$/)
  })

  test('a body of more than 1 MiB is refused', async () => {
    const answer = await request(registry, 'POST', '/v1/policies', {
      ...admin,
      raw: `"${'x'.repeat(1_100_000)}"`,
    }).catch((error: NodeJS.ErrnoException) => error)
    // The answer may come while the body is still being sent.
    if (answer instanceof Error) expect(['EPIPE', 'ECONNRESET']).toContain((answer as NodeJS.ErrnoException).code)
    else expect(answer.json.error.code).toBe('too-large')
  })
})

test('one change reaches 200 sessions on real sockets and is encoded once', async () => {
  const owner = await TestSession.open(registry, 'inventory')
  const credentials = await join(registry, 'checkout')
  const clients = Array.from({ length: 4 }, () =>
    http2.connect(registry.url, { ca: [...registry.roots], servername: 'localhost', ...credentials }),
  )
  let snapshots = 0
  let deltas = 0
  for (const client of clients) {
    client.on('error', () => {})
    for (let i = 0; i < 50; i++) {
      const stream = client.request({ ':method': 'POST', ':path': '/v1/session' }, { endStream: false })
      stream.on('error', () => {})
      stream.setEncoding('utf8')
      let rest = ''
      stream.on('data', (text: string) => {
        const lines = (rest + text).split('\n')
        rest = lines.pop()!
        for (const line of lines) {
          if (line.includes('"type":"snapshot"')) snapshots += 1
          if (line.includes('"type":"delta"')) deltas += 1
        }
      })
      stream.write(
        '{"type":"hello","protocol":1,"service":"checkout","process":"p"}\n{"type":"watch","service":"inventory"}\n',
      )
    }
  }
  await owner.until(() => snapshots === 200)
  const { encoded, delivered } = registry.counts
  await owner.ask({ type: 'register', instance: instance('inventory', 'i1') })
  await owner.until(() => deltas === 200)
  expect(registry.counts.encoded - encoded).toBe(1)
  expect(registry.counts.delivered - delivered).toBe(200)
  for (const client of clients) client.destroy()
  owner.close()
})
