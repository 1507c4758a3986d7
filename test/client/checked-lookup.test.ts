/**
 * Where names lead is judged by the client when it connects, over real sockets; only the resolver
 * is scripted.
 */
import dns from 'node:dns'
import { syncBuiltinESMExports } from 'node:module'
import { hostname } from 'node:os'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ScriptedGrpcServer } from '../rigs/scripted-grpc-server.ts'
import { always } from '../rigs/scripted-server.ts'
import { grpcRigOver, stock } from './grpc/rig.ts'
import { failure, opened, rigOver, serve } from './http/opened.ts'
import { endpoint } from './http/rig.ts'

/** What the names of these tests lead to. */
const LEADS: Readonly<Record<string, string>> = {
  'cloud.test': '169.254.169.254',
  'everybody.test': '0.0.0.0',
  'link.test': '169.254.7.7',
  'rebound.test': '127.0.0.1',
  'mixed.test': '127.0.0.1',
}

const original = dns.lookup
beforeAll(() => {
  const answer = (host: string, options: unknown, done: (...found: unknown[]) => void): void => {
    const address = LEADS[host]
    if (address === undefined) (original as unknown as typeof answer)(host, options, done)
    else process.nextTick(done, null, [{ address, family: 4 }])
  }
  vi.spyOn(dns, 'lookup').mockImplementation(answer as unknown as typeof dns.lookup)
  syncBuiltinESMExports()
})
afterAll(() => {
  vi.restoreAllMocks()
  syncBuiltinESMExports()
})

const ASTRAY = [
  'cloud.test',
  'everybody.test',
  'link.test',
  'rebound.test',
  '0.0.0.0',
  '169.254.169.254',
  '::ffff:a9fe:a9fe',
]

describe('over HTTP', () => {
  it.each(ASTRAY)('%s is not connected to, and the call was certainly not sent', async (address) => {
    const server = await serve(always(200))
    const at = endpoint(server.port, { address })
    const rig = await rigOver([at as never], { loopbackAllowed: false, retry: { attempts: 1 } })
    const error = await failure(rig.http.post('/', 'x'))
    expect([error.code, error.sent]).toEqual(['connect-failed', false])
    expect(String((error.cause as Error).message)).toContain('it is not connected to')
    expect(server.connections).toBe(0)
  })

  it.each(['rebound.test', 'localhost', hostname()])(
    '%s may be this machine where all of the mesh is',
    async (address) => {
      const server = await serve(always(200))
      const at = endpoint(server.port, { address })
      const rig = await rigOver([at as never], { loopbackAllowed: address === 'rebound.test', retry: { attempts: 1 } })
      const said = await rig.http.get('/').then(
        ({ status }) => status,
        (error: Error) => String((error.cause as Error).message),
      )
      // A machine's name may lead to another of its addresses, where this server does not listen.
      if (address === hostname()) expect(said).not.toContain('it is not connected to')
      else expect(said).toBe(200)
    },
  )
})

describe('over gRPC', () => {
  const script = async () => opened(await new ScriptedGrpcServer((stream) => stream.answer(stock('a'))).listen())

  it.each(ASTRAY)('%s is not connected to, and the call was certainly not sent', async (address) => {
    const server = await script()
    const rig = grpcRigOver([endpoint(server.port, { address, protocol: 'grpc' })], {
      loopbackAllowed: false,
      retry: { attempts: 1 },
    })
    const error = await rig.client.promises.take({ sku: 'a' }).catch((reason: Error) => reason)
    expect(String((error as Error).message)).toContain('it is not connected to')
    expect(rig.attempts.outcomes.map(({ code, verdict }) => [code, verdict])).toEqual([['connect-failed', 'refused']])
    expect(server.connections).toBe(0)
  })

  it('a name that leads to this machine is used where all of the mesh is', async () => {
    const server = await script()
    const rig = grpcRigOver([endpoint(server.port, { address: 'localhost', protocol: 'grpc' })], {
      loopbackAllowed: true,
    })
    expect((await rig.client.promises.take({ sku: 'a' })).sku).toBe('a')
  })
})
