import { afterEach, describe, expect, it } from 'vitest'
import { Destination } from '../../src/client/destination.ts'
import { DoubtedEndpoints } from '../../src/client/doubted-endpoints.ts'
import { HttpClient } from '../../src/client/http/client.ts'
import type { HttpPool } from '../../src/client/http/pool.ts'
import { HttpTransport } from '../../src/client/http/transport.ts'
import type { Endpoint } from '../../src/core/endpoint.ts'
import { SILENT } from '../../src/core/telemetry.ts'
import { type PolicyDocument, resolvePolicy } from '../../src/discovery/policy-document.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { freePort } from '../rigs/free-ports.ts'
import { instance } from '../rigs/instance.ts'
import { type Script, ScriptedServer } from '../rigs/scripted-server.ts'
import { opened } from './http/opened.ts'
import { until } from './http/rig.ts'

type Policy = Omit<PolicyDocument, 'service'>

/** A server whose health a test sets; calls it answers with 200, always. */
class Patient {
  health: 'well' | 'ill' | 'silent' = 'well'
  calls = 0
  checks = 0
  /** Checks that it has heard and leaves unanswered. */
  hanging = 0
  server: ScriptedServer | undefined

  readonly script: Script = async (connection) => {
    for (;;) {
      const request = await connection.request()
      if (!request.startsWith('GET /healthz ')) {
        this.calls += 1
        connection.answer(200, 'done')
        continue
      }
      this.checks += 1
      if (this.health === 'silent') {
        this.hanging += 1
        connection.socket.once('close', () => {
          this.hanging -= 1
        })
      } else connection.answer(this.health === 'well' ? 200 : 500)
    }
  }

  async start(): Promise<this> {
    // Below those that the system gives out: closed, nothing listens there until it does again.
    this.server = opened(await new ScriptedServer(this.script).listen(await freePort()))
    return this
  }
}

class World {
  readonly clock: FakeClock
  readonly events: string[] = []
  readonly patients: Patient[] = []
  readonly transport: HttpTransport
  readonly destination: Destination<HttpTransport>
  readonly http: HttpClient

  constructor(clock: FakeClock, transport: HttpTransport) {
    this.clock = clock
    this.transport = transport
    this.destination = new Destination('inventory', 'http', {
      clock: this.clock,
      telemetry: SILENT,
      events: {
        emit: (name, payload) => {
          if (!name.startsWith('endpoint:') && name !== 'cluster:panic') return
          this.events.push(`${name} ${JSON.stringify({ ...payload, peer: undefined, endpoint: undefined })}`)
        },
      },
      transport: this.transport,
      idempotent: new Set(['GET']),
      caller: 'checkout',
      hold: () => undefined,
      successor: () => undefined,
      client: { id: 'client-1', zone: undefined },
      doubted: new DoubtedEndpoints(this.clock, true),
    })
    this.http = new HttpClient(this.destination)
  }

  policy(policy: Policy): void {
    this.destination.configure(resolvePolicy(null, { service: 'inventory', ...policy }))
  }

  /** One endpoint for each patient. */
  discover(): void {
    const instances = this.patients.map(({ server }, i) =>
      instance('inventory', `i-${i}`, { port: server!.port, tls: false }),
    )
    this.destination.apply({ instances, intended: true, left: new Set(), frozen: false, stale: false })
  }

  get endpoints(): readonly Endpoint[] {
    return this.destination.cluster.endpoints
  }

  get states(): string[] {
    return this.endpoints.map(({ state }) => state)
  }

  /** Lets time pass; each check that can be answered is, before more passes. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 50) {
      this.clock.advance(50)
      await until(() =>
        this.endpoints.every(({ transport }, i) => {
          const pool = transport as HttpPool | undefined
          return pool === undefined || pool.connections - pool.idle <= this.patients[i]!.hanging
        }),
      )
      // What a timer of ours defers to the next turn of the loop.
      await new Promise(setImmediate)
    }
  }

  async callsOf(times: number): Promise<number[]> {
    const before = this.patients.map(({ calls }) => calls)
    for (let i = 0; i < times; i++) expect((await this.http.get('/items')).status).toBe(200)
    return this.patients.map(({ calls }, i) => calls - before[i]!)
  }
}

let world: World

async function setUp(size: number, policy: Policy = { healthCheck: {} }): Promise<Patient[]> {
  const clock = new FakeClock({ seed: 5 })
  world = new World(clock, await HttpTransport.create({ clock }))
  for (let i = 0; i < size; i++) world.patients.push(await new Patient().start())
  world.policy({ balancer: 'round-robin', ...policy })
  world.discover()
  return world.patients
}

afterEach(() => {
  world.destination.close(0)
  world.transport.close(0)
})

describe('health checks of a destination', () => {
  it('are not made unless the policy says so', async () => {
    const patients = await setUp(2, {})
    await world.pass(30_000)
    expect(patients.map(({ checks }) => checks)).toEqual([0, 0])
    expect(world.transport.connections).toBe(0)
  })

  it('take an endpoint out that says it is ill although it answers calls, and back when it is well', async () => {
    const patients = await setUp(4)
    await world.pass(5_000)
    patients[1]!.health = 'ill'
    await world.pass(15_000)
    expect(world.states).toEqual(['healthy', 'ejected', 'healthy', 'healthy'])
    expect(world.events).toEqual(['endpoint:ejected {"reason":"health-check","detail":"status 500"}'])
    expect((await world.callsOf(60))[1]).toBe(0)
    patients[1]!.health = 'well'
    await world.pass(10_000)
    expect(world.states).toEqual(['healthy', 'healthy', 'healthy', 'healthy'])
    expect(world.events.slice(1)).toEqual(['endpoint:restored {}'])
    expect((await world.callsOf(60))[1]).toBeGreaterThan(10)
  })

  it('take out one that stalls and one that is gone, without any call', async () => {
    const patients = await setUp(5)
    await world.pass(5_000)
    patients[0]!.health = 'silent'
    await patients[1]!.server!.close()
    await world.pass(17_000)
    expect(world.states).toEqual(['ejected', 'ejected', 'healthy', 'healthy', 'healthy'])
    expect(world.events.toSorted()).toEqual([
      'endpoint:ejected {"reason":"health-check","detail":"connect-failed"}',
      'endpoint:ejected {"reason":"health-check","detail":"no answer in time"}',
    ])
    expect((await world.callsOf(30)).slice(0, 2)).toEqual([0, 0])
  })

  it('never fail a call: when too few are well, all are used', async () => {
    const patients = await setUp(3)
    for (const each of patients) each.health = 'ill'
    await world.pass(16_000)
    expect(world.states).toEqual(['ejected', 'ejected', 'ejected'])
    expect(world.events).toContain('cluster:panic {"on":true,"healthy":1,"endpoints":3}')
    for (const calls of await world.callsOf(30)) expect(calls).toBe(10)
    expect(world.states).toEqual(['ejected', 'ejected', 'ejected'])
    for (const each of patients) each.health = 'well'
    await world.pass(10_000)
    expect(world.states).toEqual(['healthy', 'healthy', 'healthy'])
    expect(world.events.filter((event) => event.startsWith('cluster:panic')).at(-1)).toContain('"on":false')
  })

  it('work with one endpoint, with every balancer, and without ejection by attempts', async () => {
    const patients = await setUp(1, { healthCheck: { interval: '1s' }, ejection: false })
    patients[0]!.health = 'ill'
    await world.pass(4_000)
    expect(world.states).toEqual(['ejected'])
    for (const balancer of ['peak-ewma', 'least-request', 'weighted-round-robin', 'ring-hash', 'maglev'] as const) {
      world.policy({ healthCheck: { interval: '1s' }, ejection: false, balancer })
      expect(world.states).toEqual(['ejected'])
      expect(await world.callsOf(3)).toEqual([3])
    }
    patients[0]!.health = 'well'
    await world.pass(3_000)
    expect(world.states).toEqual(['healthy'])
  })

  it('leave one in that flaps faster than they believe', async () => {
    const patients = await setUp(2)
    for (let i = 0; i < 8; i++) {
      patients[0]!.health = i % 2 === 0 ? 'ill' : 'well'
      await world.pass(10_000)
    }
    expect(world.events).toEqual([])
  })

  it('stop when the policy says so, and what they took out is back at once', async () => {
    const patients = await setUp(3)
    patients[2]!.health = 'ill'
    await world.pass(16_000)
    expect(world.states[2]).toBe('ejected')
    world.policy({ balancer: 'round-robin', healthCheck: false })
    expect(world.states[2]).toBe('healthy')
    const before = patients.map(({ checks }) => checks)
    await world.pass(20_000)
    expect(patients.map(({ checks }) => checks)).toEqual(before)
    expect((await world.callsOf(9))[2]).toBe(3)
  })

  it('ask only the client s own subset, and whoever comes into it', async () => {
    const patients = await setUp(12, { healthCheck: { interval: '1s' }, subset: { size: 3 } })
    await world.pass(3_000)
    const asked = (): number[] => patients.flatMap(({ checks }, i) => (checks > 0 ? [i] : []))
    expect(asked()).toHaveLength(3)
    const own = asked()
    const calls = await world.callsOf(30)
    expect(calls.flatMap((count, i) => (count > 0 ? [i] : []))).toEqual(own)
    world.policy({ balancer: 'round-robin', healthCheck: { interval: '1s' } })
    await world.pass(2_000)
    expect(asked()).toHaveLength(12)
  })

  it('keep connections warm and share them with calls', async () => {
    const patients = await setUp(1, { healthCheck: { interval: '1s' } })
    await world.pass(5_000)
    expect(patients[0]!.checks).toBe(5)
    await world.callsOf(3)
    expect(patients[0]!.server!.connections).toBe(1)
  })

  it('leave no timer, no probe and no connection when the destination is closed', async () => {
    const patients = await setUp(3)
    patients[0]!.health = 'silent'
    await until(() => {
      world.clock.advance(50)
      return patients[0]!.checks > 0
    })
    world.destination.close(0)
    world.transport.close(0)
    // The pools close what is still busy by a timer of theirs.
    world.clock.advance(1)
    await until(() => patients.every(({ server }) => server!.open === 0))
    const before = patients.map(({ checks }) => checks)
    expect(world.clock.timers).toBe(0)
    world.clock.advance(60_000)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(patients.map(({ checks }) => checks)).toEqual(before)
  })
})

describe('a destination most of whose endpoints are dead for good', () => {
  it('fails no call that may be repeated, however often it finds the dead ones out again', async () => {
    const patients = await setUp(5, { balancer: 'peak-ewma' })
    for (const { server } of patients.slice(1)) await server!.close()
    for (let i = 0; i < 6_000; i++) {
      world.clock.advance(5)
      expect((await world.http.get('/items')).status).toBe(200)
    }
    expect(world.states).toEqual(['healthy', 'ejected', 'ejected', 'ejected', 'ejected'])
    expect(world.events.filter((event) => event.startsWith('cluster:panic'))).toEqual([])
  })

  it('finds one of them soon that listens again, when all were dead', async () => {
    const patients = await setUp(3, { balancer: 'peak-ewma', circuitBreaker: false, retry: { attempts: 1 } })
    const { port } = patients[2]!.server!
    for (const { server } of patients) await server!.close()
    for (let i = 0; i < 50; i++) {
      world.clock.advance(5)
      await expect(world.http.get('/items')).rejects.toMatchObject({ code: 'connect-failed' })
    }
    const again = await new ScriptedServer(patients[2]!.script).listen(port)
    let failed = 0
    for (let i = 0; i < 100; i++) {
      world.clock.advance(5)
      await world.http.get('/items').catch(() => (failed += 1))
    }
    expect(failed).toBeLessThan(10)
    await again.close()
  })
})
