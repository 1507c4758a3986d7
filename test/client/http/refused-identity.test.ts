/**
 * A server that does not believe its client's certificate says so: the client knows that nothing
 * was executed, and why.
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer as createTlsServer } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { outcomeOf } from '../../../src/client/http/outcome.ts'
import type { Identity } from '../../../src/identity/identity.ts'
import { serverTlsOptions } from '../../../src/identity/tls-options.ts'
import { craftLeaf, newAuthority, newIdentity } from '../../rigs/certificates.ts'
import { serveShop } from '../../server/grpc/rig.ts'
import { authority, serve } from '../../server/rig.ts'
import { KINDS } from '../grpc/kinds.ts'
import { causeOf, grpcRigOver, type Item } from '../grpc/rig.ts'
import { clientIdentity } from '../identity-rig.ts'
import { opened } from './opened.ts'
import { endpoint, makeRig } from './rig.ts'

const POSTS = 200
const HOUR = 3_600_000
const CHECKOUT = 'spiffe://mesh.test/service/checkout'
const other = newAuthority()

/**
 * The server's own certificate stays good for its clients, and it believes none of theirs any more.
 */
function distrusting(current: Identity): Identity {
  return { ...current, roots: [other.certificate], sequence: current.sequence + 1, generation: current.generation + 1 }
}

interface End {
  readonly error: { readonly code: unknown; readonly sent: unknown; readonly cause?: unknown } | undefined
}

class Executions {
  readonly #counts = new Map<string, number>()

  note(id: string): void {
    this.#counts.set(id, this.of(id) + 1)
  }

  of(id: string): number {
    return this.#counts.get(id) ?? 0
  }

  get total(): number {
    return this.#counts.size
  }
}

/** Each was executed once and answered, or not executed, and its caller knows. */
function expectHonest(ends: ReadonlyMap<string, End>, executions: Executions): void {
  expect(ends.size).toBeGreaterThanOrEqual(POSTS)
  const wrong: unknown[] = []
  for (const [id, { error }] of ends) {
    const isRefused = error?.code === 'identity-rejected' && error.sent === false
    const isRight = error === undefined ? executions.of(id) === 1 : isRefused && executions.of(id) === 0
    if (!isRight) wrong.push([id, executions.of(id), error])
  }
  expect(wrong).toEqual([])
  const refused = [...ends.values()].filter(({ error }) => error !== undefined)
  expect(refused.length).toBeGreaterThan(0)
  expect(executions.total).toBeGreaterThan(0)
}

/** Eight at a time, until some are refused; `begin` is called at the middle. */
async function post(one: (id: string) => Promise<End>, begin: () => void): Promise<Map<string, End>> {
  const ends = new Map<string, End>()
  let next = 0
  let refusals = 0
  const worker = async (): Promise<void> => {
    while (next < POSTS || (refusals === 0 && next < 100 * POSTS)) {
      if (next === POSTS / 2) begin()
      const id = `p${next++}`
      const end = await one(id)
      if (end.error !== undefined) refusals += 1
      ends.set(id, end)
    }
  }
  await Promise.all(Array.from({ length: 8 }, worker))
  return ends
}

const ended = (promise: Promise<unknown>): Promise<End> =>
  promise.then(
    () => ({ error: undefined }),
    (error: End['error']) => ({ error }),
  )

describe('a server that begins to refuse the certificate of its client', () => {
  it.each(['warm', 'cold'])('executes each POST once or says that it did not, on %s connections', async (kind) => {
    const executions = new Executions()
    const { server, identity } = await serve(
      (request, response) => {
        executions.note(request.url!.slice(1))
        request.resume().on('end', () => response.end('done'))
      },
      { mode: 'strict', rotationGrace: 20 },
    )
    const ours = clientIdentity(newIdentity(authority, 'checkout')).identity
    const rig = () => makeRig([endpoint(server.port, { tls: true })], { identity: ours })
    const shared = opened(await rig())
    const body = 'x'.repeat(50_000)
    const ends = await post(
      async (id) => {
        if (kind === 'warm') return ended(shared.http.post(`/${id}`, body).then((answer) => answer.text()))
        const own = await rig()
        const end = await ended(own.http.post(`/${id}`, body).then((answer) => answer.text()))
        own.close()
        return end
      },
      () => identity.rotate(distrusting(identity.current)),
    )
    expectHonest(ends, executions)
  })

  it.each(['warm', 'cold'])('executes each gRPC call once or says that it did not, on %s connections', async (kind) => {
    const executions = new Executions()
    const { server, identity } = await serveShop(
      {
        Take: (call: { request: Item }, answer: (error: null, stock: object) => void) => {
          executions.note(call.request.sku)
          answer(null, {})
        },
      },
      { mode: 'strict', rotationGrace: 20 },
    )
    const ours = clientIdentity(newIdentity(authority, 'checkout')).identity
    const rig = () => grpcRigOver([endpoint(server.port, { tls: true, protocol: 'grpc' })], { identity: ours })
    const shared = rig()
    const take = (client: typeof shared.client, sku: string): Promise<End> =>
      new Promise((resolve) => {
        client.take({ sku }, (error) => resolve({ error: error === null ? undefined : causeOf(error) }))
      })
    const ends = await post(
      async (id) => {
        const own = kind === 'warm' ? shared : rig()
        const end = await take(own.client, id)
        if (own !== shared) own.close()
        return end
      },
      () => identity.rotate(distrusting(identity.current)),
    )
    expectHonest(ends, executions)
  })
})

/** Whom the servers above refuse in several ways; and the client trusts all of them. */
const STRANGERS: readonly (readonly [who: string, reason: string, make: () => Identity])[] = [
  ['one of a foreign issuer', 'untrusted-issuer', () => as(craftLeaf(other, { uris: [CHECKOUT] }))],
  [
    'one that has ended',
    'expired',
    () => as(craftLeaf(authority, { uris: [CHECKOUT], notBefore: Date.now() - 2 * HOUR, notAfter: Date.now() - HOUR })),
  ],
  [
    'one that has not begun',
    'not-yet-valid',
    () => as(craftLeaf(authority, { uris: [CHECKOUT], notBefore: Date.now() + HOUR, notAfter: Date.now() + 2 * HOUR })),
  ],
  ['one with two names', 'several-uri-names', () => as(craftLeaf(authority, { uris: [CHECKOUT, `${CHECKOUT}2`] }))],
]

function as(leaf: { key: string; cert: string }): Identity {
  return { ...newIdentity(authority, 'checkout'), privateKey: leaf.key, certificate: leaf.cert }
}

async function* endless(chunks: number): AsyncGenerator<Buffer> {
  for (let i = 0; i < chunks; i++) {
    yield Buffer.alloc(16_384)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

describe('a client whose certificate is refused', () => {
  it.each(STRANGERS)(
    '(%s) has an error with the reason %s, and the event once a connection',
    async (_who, reason, make) => {
      const { server } = await serve((_request, response) => response.end(), { mode: 'strict' })
      const told: string[] = []
      const rig = opened(
        await makeRig([endpoint(server.port, { tls: true })], {
          identity: clientIdentity(make()).identity,
          onRefusedByPeer: (why) => told.push(why),
        }),
      )
      for (const send of [
        () => rig.http.post('/', 'x'),
        () => rig.http.get('/'),
        () => rig.http.request('HEAD', '/'),
      ]) {
        const error = await send().catch((failed) => failed)
        expect(error).toMatchObject({ code: 'identity-rejected', sent: false, cause: { reason } })
        expect(error.attempts).toHaveLength(1)
      }
      expect(told).toEqual([reason, reason, reason])
      expect(server.stats.refused).toBe(3)
    },
  )

  it.each(STRANGERS)('(%s) has the same of gRPC: %s, for calls of all kinds', async (_who, reason, make) => {
    const witness = new Executions()
    const { server } = await serveShop({ Take: () => witness.note('ran') }, { mode: 'strict' })
    const told: string[] = []
    const rig = grpcRigOver([endpoint(server.port, { tls: true, protocol: 'grpc' })], {
      identity: clientIdentity(make()).identity,
      onRefusedByPeer: (why) => told.push(why),
    })
    for (const kind of KINDS) {
      const { error } = await kind.run(rig.client)
      expect(error?.code).toBe(14)
      expect(causeOf(error)).toMatchObject({ code: 'identity-rejected', sent: false })
      expect(causeOf(error).message).toContain(reason)
    }
    expect(told).toEqual(KINDS.map(() => reason))
    expect(witness.total).toBe(0)
  })

  it('knows it also in the middle of a long upload', async () => {
    const { server } = await serve((_request, response) => response.end(), { mode: 'strict' })
    const rig = opened(
      await makeRig([endpoint(server.port, { tls: true })], { identity: clientIdentity(STRANGERS[0]![2]()).identity }),
    )
    const bodies = [Buffer.alloc(8_000_000), () => endless(500)] as const
    for (const body of bodies) {
      const sent = typeof body === 'function' ? body() : body
      const error = await rig.http.post('/', sent).catch((failed) => failed)
      expect(error).toMatchObject({ code: 'identity-rejected', sent: false })
    }
  })

  it('goes to another endpoint with what must not be executed twice', async () => {
    const one = await serve((_request, response) => response.end('refusing'), { mode: 'strict' })
    one.identity.rotate(distrusting(one.identity.current))
    const two = await serve((_request, response) => response.end('believing'), { mode: 'strict' })
    const identity = clientIdentity(newIdentity(authority, 'checkout')).identity
    const ends = [one, two].map(({ server }) => endpoint(server.port, { tls: true }))
    const rig = opened(await makeRig(ends, { identity, paidRetries: 0 }))
    for (let i = 0; i < 4; i++) expect(await (await rig.http.post('/', 'x')).text()).toBe('believing')
  })

  it('reads a TLS alert about it as the same: nothing was executed', async () => {
    const strict = createTlsServer(serverTlsOptions(newIdentity(authority, 'inventory')))
    await new Promise<void>((resolve) => strict.listen(0, '127.0.0.1', resolve))
    opened({ close: () => new Promise<void>((resolve) => strict.close(() => resolve())) })
    const { port } = strict.address() as AddressInfo
    const socket = connect({ port, host: '127.0.0.1', ca: authority.certificate, checkServerIdentity: () => undefined })
    // What OpenSSL says to a client without a certificate.
    const [alert] = (await once(socket, 'error')) as [Error]
    expect(outcomeOf(alert)).toMatchObject({
      verdict: 'refused',
      code: 'identity-rejected',
      cause: { reason: 'no-certificate' },
    })
    expect(outcomeOf(Object.assign(new Error('reset'), { code: 'ECONNRESET' })).verdict).toBe('failure')
  })
})
