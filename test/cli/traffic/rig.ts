/** A registry that has heard of calls, on a clock that leaps. */
import { type Registry, type RegistryOptions, startRegistry } from '../../../src/registry/index.ts'
import { LatencyDigest } from '../../../src/telemetry/traffic/latency-digest.ts'
import type { ServedSeries, TrafficMark, TrafficSeries } from '../../../src/telemetry/traffic/traffic-message.ts'
import { LeapingClock } from '../../rigs/leaping-clock.ts'
import { TestSession } from '../../rigs/registry-session.ts'
import { type Around, type Run, run } from '../run-command.ts'

export function latencies(ms: number, count: number): string {
  const digest = new LatencyDigest()
  for (let i = 0; i < count; i++) digest.record(ms)
  return digest.encode()
}

export class TrafficMesh {
  readonly #clock = new LeapingClock(0)
  readonly #sessions = new Map<string, TestSession>()
  readonly #sequences = new Map<TestSession, number>()
  registry!: Registry

  async start(options: RegistryOptions = {}): Promise<this> {
    const clock = this.#clock
    this.registry = await startRegistry({
      ...{ port: 0, memory: true, log: false, joinsPerSecond: 1_000, clock, lease: '10m' },
      ...options,
    })
    clock.pass(70_000)
    return this
  }

  /** `reports: false`: of an older version. */
  async open(service: string, name = 'p1', reports = true): Promise<TestSession> {
    const hello = { process: name, ...(reports && { traffic: true as const }) }
    const session = await TestSession.open(this.registry, service, undefined, hello)
    this.#sessions.set(`${service} ${name}`, session)
    return session
  }

  report(
    name: string,
    series: readonly TrafficSeries[],
    marks: readonly TrafficMark[] = [],
    served: readonly ServedSeries[] = [],
  ): void {
    const session = this.#sessions.get(name)!
    const sequence = (this.#sequences.get(session) ?? 0) + 1
    this.#sequences.set(session, sequence)
    session.send({ type: 'traffic', sequence, forMs: 5_000, series, served, ...(marks.length > 0 && { marks }) })
  }

  /** Everything that was sent is heard, and old enough to be complete. */
  async settle(): Promise<void> {
    for (const session of this.#sessions.values()) await session.ask({ type: 'deregister', id: 'none' })
    this.#clock.pass(12_000)
    for (const session of this.#sessions.values()) await session.ask({ type: 'deregister', id: 'none' })
  }

  get env(): Record<string, string | undefined> {
    return { INMESH_REGISTRY: this.registry.url, INMESH_ADMIN_TOKEN: this.registry.adminToken, HOME: '/nonexistent' }
  }

  command(args: readonly string[], around: Around = {}): Promise<Run> {
    return run(args, { ...around, env: { ...this.env, ...around.env } })
  }

  async close(): Promise<void> {
    for (const session of this.#sessions.values()) session.close()
    await this.registry.close()
  }
}

/** Of 100 calls from checkout to inventory five fail; 10 from cart take 100 ms. */
export async function withCalls(mesh: TrafficMesh): Promise<void> {
  await mesh.open('checkout')
  await mesh.open('cart')
  mesh.report('checkout p1', [
    {
      ...{ to: 'inventory', protocol: 'http', method: 'GET', route: 'items', version: 'v1', tls: true },
      ...{ calls: 100, codes: { timeout: 5 }, retries: 2, inFlight: 3, ms: latencies(10, 100) },
    },
  ])
  mesh.report(
    'cart p1',
    [{ to: 'inventory', protocol: 'http', method: 'POST', version: 'v2', calls: 10, ms: latencies(100, 10) }],
    [{ at: -1_000, to: 'inventory', what: 'circuit', from: 'closed', now: 'open' }],
  )
  await mesh.settle()
}
