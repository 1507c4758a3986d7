/** Peers that know nothing of the mesh: a server of grpc-js for our client, and its client. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Endpoint } from '../../../src/core/endpoint.ts'
import type { Identity } from '../../../src/identity/identity.ts'
import { newIdentity } from '../../rigs/certificates.ts'
import { keepCalling } from '../../rigs/http2-floods.ts'
import { LeapingClock } from '../../rigs/leaping-clock.ts'
import { begin, KINDS as METHODS, type ShopHandlers, shopServer } from '../../rigs/shop.ts'
import { http2ShopClient, serveShop } from '../../server/grpc/rig.ts'
import { authority, clientOf } from '../../server/rig.ts'
import { until } from '../http/rig.ts'
import { clientIdentity } from '../identity-rig.ts'
import { KINDS, type Kind } from './kinds.ts'
import { type GrpcRig, type GrpcRigOptions, grpcRigOver } from './rig.ts'

/** Answers with `name`, after a while in which the call is in flight. */
function answering(name: string, waitMs = 0): ShopHandlers {
  const wait = (work: () => void): void => void setTimeout(work, waitMs)
  const Get: ShopHandlers['Get'] = (_call, answer) => wait(() => answer(null, { sku: name }))
  return {
    Get,
    Take: Get!,
    Upload: (call, answer) => call.on('end', () => wait(() => answer(null, { sku: name }))).resume(),
    Watch: (call) =>
      wait(() => {
        call.write({ sku: name })
        call.end()
      }),
    Chat: (call) =>
      call
        .on('end', () =>
          wait(() => {
            call.write({ sku: name })
            call.end()
          }),
        )
        .resume(),
  }
}

function credentialsOf({ privateKey, certificate }: Identity): grpc.ServerCredentials {
  const pair = { private_key: Buffer.from(privateKey), cert_chain: Buffer.from(certificate) }
  return grpc.ServerCredentials.createSsl(Buffer.from(authority.certificate), [pair], true)
}

async function foreignServer(handlers: ShopHandlers, identity?: Identity) {
  const server = shopServer(handlers)
  const credentials = identity === undefined ? grpc.ServerCredentials.createInsecure() : credentialsOf(identity)
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? resolve(bound) : reject(error))),
  )
  onTestFinished(() => server.forceShutdown())
  return { server, port }
}

function rigTo(port: number, tls: boolean, transports?: readonly string[], options: GrpcRigOptions = {}): GrpcRig {
  const at = {
    ...{ id: 'one', address: '127.0.0.1', port, protocol: 'grpc' as const, tls },
    ...{ zone: undefined, version: undefined, weight: 1, metadata: {} },
    ...(transports !== undefined && { transports }),
  }
  const { identity } = clientIdentity(newIdentity(authority, 'checkout'))
  return grpcRigOver([new Endpoint('inventory', at)], { preference: 'auto', ...(tls && { identity }), ...options })
}

async function said(rig: GrpcRig, kind: Kind): Promise<string> {
  const { error, answers } = await kind.run(rig.client)
  if (error !== undefined) throw error
  return answers[0]!.sku
}

describe('a client of the mesh', () => {
  it.each([
    ['mTLS', true, undefined],
    ['mTLS, announced as what it is not', true, ['inmesh/1', 'h2']],
    ['plaintext', false, undefined],
    ['plaintext, announced as what it is not', false, ['inmesh/1', 'h2']],
  ] as const)('calls a server of grpc-js: %s', async (_how, tls, transports) => {
    const { port } = await foreignServer(answering('foreign'), tls ? newIdentity(authority, 'inventory') : undefined)
    const rig = rigTo(port, tls, transports)
    const crowd = Array.from({ length: 20 }, () => KINDS).flat()
    expect(new Set(await Promise.all(crowd.map((kind) => said(rig, kind))))).toEqual(new Set(['foreign']))
    expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(Array(crowd.length).fill('success'))
    expect([rig.attempts.admitted, rig.endpoint.pending]).toEqual([crowd.length, 0])
    await until(() => rig.transport.connections === 1)
  })
})

describe('a client of grpc-js', () => {
  it.each([true, false])('calls a server of the mesh that prefers inmesh/1, mTLS: %s', async (tls) => {
    const mode = tls ? ('strict' as const) : ('plaintext' as const)
    const { server } = await serveShop(answering('ours'), { mode }, { transport: 'auto' })
    const client = http2ShopClient(server.port, tls ? clientOf('foreign') : undefined)
    for (const kind of METHODS) {
      expect(await begin(client, kind).ended).toMatchObject({ code: 0, answers: [{ sku: 'ours' }] })
    }
    expect(server.stats.connections).toBe(1)
  })
})

/** One address, behind which the peer changes. */
async function address() {
  let target = 0
  const open = new Set<Socket>()
  const server = createServer((client) => {
    const peer = connect(target, '127.0.0.1')
    for (const [from, to] of [
      [client, peer],
      [peer, client],
    ] as const) {
      open.add(from)
      from.pipe(to)
      from.on('error', () => to.destroy()).on('close', () => void open.delete(from))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    for (const socket of open) socket.destroy()
  })
  const to = (port: number): void => {
    target = port
  }
  return { port: (server.address() as { port: number }).port, to }
}

describe('an address behind which the peer changes', () => {
  it.each([true, false])('from inmesh/1 to h2 and back loses no call, mTLS: %s', async (tls) => {
    const mode = tls ? ('strict' as const) : ('plaintext' as const)
    const { port, to } = await address()
    const clock = new LeapingClock(0)
    const ours = async (name: string) => {
      const { server } = await serveShop(answering(name, 5), { mode }, { transport: 'auto' })
      to(server.port)
      return server
    }
    const first = await ours('first')
    const rig = rigTo(port, tls, tls ? undefined : ['inmesh/1', 'h2'], { transportClock: clock })
    const heard: string[] = []
    const streams = [...KINDS, ...KINDS, ...KINDS].map((kind) =>
      keepCalling(async () => {
        heard.push(await said(rig, kind))
      }),
    )
    const comes = (name: string): Promise<void> => until(() => heard.at(-1) === name)
    await comes('first')

    const { server: foreign, port: foreignPort } = await foreignServer(
      answering('foreign', 5),
      tls ? newIdentity(authority, 'inventory') : undefined,
    )
    to(foreignPort)
    await first.drain({ lameDuckMs: 0 })
    await comes('foreign')

    const last = await ours('last')
    clock.pass(601_000)
    await new Promise<void>((resolve) => foreign.tryShutdown(() => resolve()))
    await comes('last')
    for (const stop of streams) await stop()
    expect(new Set(heard)).toEqual(new Set(['first', 'foreign', 'last']))
    expect(rig.attempts.outcomes.filter(({ verdict }) => verdict === 'failure')).toEqual([])
    expect(rig.calls.outcomes.filter(({ verdict }) => verdict !== 'success')).toEqual([])
    expect(last.stats.connections).toBe(1)
  })
})
