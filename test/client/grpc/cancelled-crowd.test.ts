/** Thousands of calls that their callers cancel, between a client and a server of the mesh. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import * as grpc from '@grpc/grpc-js'
import { expect, it } from 'vitest'
import { Endpoint } from '../../../src/core/endpoint.ts'
import { keepCalling } from '../../rigs/http2-floods.ts'
import { OVER_MUX } from '../../rigs/mux-gateway.ts'
import { serveShop } from '../../server/grpc/rig.ts'
import { until } from '../http/rig.ts'
import { KINDS } from './kinds.ts'
import { type GrpcRig, grpcRigOver } from './rig.ts'

const AT_ONCE = 100

/** Calls whose handlers never end them. */
class Witness {
  begun = 0
  cancelled = 0

  see(call: { on(name: 'cancelled', listener: () => void): unknown }): void {
    this.begun += 1
    call.on('cancelled', () => {
      this.cancelled += 1
    })
  }
}

async function between() {
  const witness = new Witness()
  const filler = Buffer.alloc(1_000)
  const { server } = await serveShop({
    Get: (call, answer) => answer(null, { sku: call.request.sku }),
    Take: (call) => witness.see(call),
    Upload: (call) => witness.see(call),
    Watch: (call) => {
      witness.see(call)
      call.write({ sku: 'first', filler })
    },
    Chat: (call) => {
      witness.see(call)
      call.on('data', () => call.write({ sku: 'echo', filler })).on('error', () => {})
    },
  })
  const at = {
    ...{ id: 'one', address: '127.0.0.1', port: server.port, protocol: 'grpc' as const, tls: false },
    ...{ zone: undefined, version: undefined, weight: 1, metadata: {} },
    transports: OVER_MUX ? ['inmesh/1', 'h2'] : ['h2'],
  }
  const rig = grpcRigOver([new Endpoint('inventory', at)], { timeoutMs: 60_000 })
  return { server, witness, rig }
}

/** Cancelled in the turn that makes it, later, and when its answer has begun. */
const MOMENTS: readonly ((begun: { cancel(): void }) => Promise<void> | void)[] = [
  (call) => call.cancel(),
  (call) => process.nextTick(() => call.cancel()),
  (call) => void setImmediate(() => call.cancel()),
  (call) => void setTimeout(() => call.cancel(), 5),
]

async function crowd(rig: GrpcRig, kind: (typeof KINDS)[number], count: number): Promise<void> {
  for (let done = 0; done < count; done += AT_ONCE) {
    const calls = Array.from({ length: AT_ONCE }, (_, i) => {
      const call = kind.begin(rig.client)
      void MOMENTS[i % MOMENTS.length]!(call)
      return call.ended
    })
    for (const { error } of await Promise.all(calls)) expect(error?.code).toBe(grpc.status.CANCELLED)
  }
}

/** What the rig keeps of each call. */
function forget({ attempts, calls, endedCalls }: GrpcRig): void {
  for (const kept of [attempts.outcomes, calls.outcomes, endedCalls]) kept.length = 0
}

it('10,000 cancelled calls cost no connection, no memory and no other call, and their handlers hear of it', {
  timeout: 180_000,
}, async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const heap = async (): Promise<number> => {
    for (let i = 0; i < 3; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      collect()
    }
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }
  const { server, witness, rig } = await between()
  const stop = keepCalling(async () => {
    const { sku } = await rig.client.promises.get({ sku: 'beside' })
    return sku
  })
  for (const kind of KINDS) await crowd(rig, kind, 500)
  forget(rig)
  const before = await heap()
  for (const kind of KINDS) await crowd(rig, kind, 2_500)
  forget(rig)
  const grown = (await heap()) - before
  const beside = await stop()
  expect(beside.length).toBeGreaterThan(5)
  expect(beside.every((sku) => sku === 'beside')).toBe(true)
  await until(() => server.stats.inFlight === 0 && witness.cancelled === witness.begun)
  expect([rig.transport.connections, server.stats.connections, rig.endpoint.pending]).toEqual([1, 1, 0])
  expect(witness.begun).toBeGreaterThan(1_000)
  expect(grown).toBeLessThan(10_000_000)
})
