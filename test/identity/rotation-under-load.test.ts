/**
 * The rotation of a root while calls run: the next root is published, used, and the former one is
 * withdrawn. Each party hears of each step at another moment, as in a fleet.
 */
import { expect, test } from 'vitest'
import type { Authority } from '../../src/identity/certificate.ts'
import type { TrustBundle } from '../../src/identity/trust-bundle.ts'
import { grpcRigOver } from '../client/grpc/rig.ts'
import { opened } from '../client/http/opened.ts'
import { endpoint, makeRig } from '../client/http/rig.ts'
import { clientIdentity } from '../client/identity-rig.ts'
import { newAuthority, newBundle, newIdentity, newIntermediate } from '../rigs/certificates.ts'
import { serveShop } from '../server/grpc/rig.ts'
import { authority as former, serve } from '../server/rig.ts'

const SERVERS = 3
const CLIENTS = 3
const formerIntermediate = newIntermediate(former)
const next = newAuthority()
const nextIntermediate = newIntermediate(next)
const texts = (...all: Authority[]): string[] => all.map(({ certificate }) => certificate)
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const begun = newBundle(texts(former), 1, { intermediates: texts(formerIntermediate) })
const both = newBundle(texts(next, former), 2, { intermediates: texts(nextIntermediate, formerIntermediate) })
const withdrawn = newBundle(texts(next), 3, { intermediates: texts(nextIntermediate) })

/** One process: what it shows and trusts now. */
interface Party {
  readonly service: string
  take(signer: Authority, bundle: TrustBundle): void
}

const identityOf = (service: string, signer: Authority, bundle: TrustBundle) => ({
  ...newIdentity(signer, service),
  ...bundle,
})

async function httpServer(): Promise<{ party: Party; port: number }> {
  const { server, identity } = await serve(
    async (request, response) => {
      await pause(request.url === '/slow' ? 60 : 2)
      response.end('ok')
    },
    { mode: 'strict', rotationGrace: 100 },
  )
  return { port: server.port, party: partyOf('inventory', (to) => identity.rotate(to)) }
}

async function grpcServer(): Promise<{ party: Party; port: number }> {
  const { server, identity } = await serveShop(
    { Take: (call, answer) => void pause(5).then(() => answer(null, { sku: call.request.sku, left: 1 })) },
    { mode: 'strict', rotationGrace: 100 },
  )
  return { port: server.port, party: partyOf('inventory', (to) => identity.rotate(to)) }
}

function partyOf(service: string, rotate: (to: ReturnType<typeof identityOf>) => void): Party {
  let generation = 1
  let last: { signer: Authority; identity: ReturnType<typeof identityOf> } | undefined
  return {
    service,
    take: (signer, bundle) => {
      generation += 1
      // A bundle alone leaves the certificate as it is.
      const identity = last?.signer === signer ? last.identity : identityOf(service, signer, bundle)
      last = { signer, identity: { ...identity, ...bundle, generation } }
      rotate(last.identity)
    },
  }
}

/** Each step reaches the parties one after another, while calls run. */
async function rotate(parties: readonly Party[], calls: () => number): Promise<void> {
  const steps: [Authority, TrustBundle][] = [
    [formerIntermediate, both],
    [nextIntermediate, both],
    [nextIntermediate, withdrawn],
  ]
  for (const [signer, bundle] of steps) {
    for (const party of parties) {
      party.take(signer, bundle)
      await pause(20)
    }
    // Long enough for connections to be replaced, and for calls on the new ones.
    const from = calls()
    await pause(300)
    await expect.poll(calls, { timeout: 40_000 }).toBeGreaterThan(from + 100)
  }
}

async function load(
  call: () => Promise<unknown>,
  workers: number,
): Promise<{ calls: () => number; stop: () => Promise<unknown[]> }> {
  let stopped = false
  let calls = 0
  const failures: unknown[] = []
  const running = Array.from({ length: workers }, async () => {
    while (!stopped) {
      await call().catch((error: unknown) => failures.push(error))
      calls += 1
    }
  })
  await expect.poll(() => calls, { timeout: 40_000 }).toBeGreaterThan(50)
  return {
    calls: () => calls,
    stop: async () => {
      stopped = true
      await Promise.all(running)
      return failures
    },
  }
}

test('loses no HTTP call', async () => {
  const servers = await Promise.all(Array.from({ length: SERVERS }, httpServer))
  for (const { party } of servers) party.take(formerIntermediate, begun)
  const clients = await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      const { source, identity } = clientIdentity(identityOf('checkout', formerIntermediate, begun))
      const endpoints = servers.map(({ port }) => endpoint(port, { tls: true }))
      const rig = opened(await makeRig(endpoints, { identity, connections: { rotationSpread: 100 } }))
      return { rig, party: partyOf('checkout', (to) => source.rotate(to)) }
    }),
  )
  let turn = 0
  const { calls, stop } = await load(async () => {
    const { rig } = clients[turn++ % CLIENTS]!
    const response = await rig.http.post(turn % 5 === 0 ? '/slow' : '/', 'x', { timeout: '10s' })
    expect(await response.text()).toBe('ok')
  }, 9)
  await rotate(
    [...servers, ...clients].map(({ party }) => party),
    calls,
  )
  expect(await stop()).toEqual([])
}, 300_000)

test('loses no gRPC call', async () => {
  const servers = await Promise.all(Array.from({ length: SERVERS }, grpcServer))
  for (const { party } of servers) party.take(formerIntermediate, begun)
  const clients = Array.from({ length: CLIENTS }, () => {
    const { source, identity } = clientIdentity(identityOf('checkout', formerIntermediate, begun))
    const endpoints = servers.map(({ port }) => endpoint(port, { tls: true, protocol: 'grpc' }))
    const rig = grpcRigOver(endpoints, { identity, settings: { rotationSpreadMs: 100 } })
    return { rig, party: partyOf('checkout', (to) => source.rotate(to)) }
  })
  let turn = 0
  const { calls, stop } = await load(() => {
    const { rig } = clients[turn++ % CLIENTS]!
    return new Promise<void>((resolve, reject) => {
      rig.client.take({ sku: 'a' }, (error) => (error === null ? resolve() : reject(error)))
    })
  }, 9)
  await rotate(
    [...servers, ...clients].map(({ party }) => party),
    calls,
  )
  expect(await stop()).toEqual([])
}, 300_000)
