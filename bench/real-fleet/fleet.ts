/**
 * A fleet of real processes on this machine: a registry, servers and clients. All arms run at once
 * on the same processes, so that what else the machine does meets all alike.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { Subject } from '../harness.ts'
import { applyPolicy, startRegistryProcess } from '../testbed.ts'
import type { CallJob, ClientTrace, FleetClientJob } from './client-process.ts'
import type { Traces } from './measures.ts'
import { type LoopDelay, runNow } from './run-clock.ts'
import type { FleetServerJob, ServeJob, ServerTrace } from './server-process.ts'
import { ARMS, type Arm, CLIENTS, perSecond, SERVERS, type Shape, speedOf } from './shape.ts'
import type { Outage } from './simulated.ts'

/** Until all processes know a new document, and all clients have their jobs. */
const HEARD_MS = 1_000
/** Processes that start at once: starting is the hardest work of all. */
const AT_ONCE = 5

export interface RealRun {
  /** On the clock of the traces. */
  readonly from: number
  /** When the servers went on. */
  readonly backAt: number
  readonly traces: ReadonlyMap<Arm, Traces>
  readonly servers: readonly LoopDelay[]
  readonly clients: readonly LoopDelay[]
}

type Keep = <S extends Subject>(subject: S) => S

export class RealFleet {
  readonly #registry: Awaited<ReturnType<typeof startRegistryProcess>>
  readonly #servers: readonly Subject[]
  readonly #clients: readonly Subject[]

  private constructor(
    registry: Awaited<ReturnType<typeof startRegistryProcess>>,
    servers: readonly Subject[],
    clients: readonly Subject[],
  ) {
    this.#registry = registry
    this.#servers = servers
    this.#clients = clients
  }

  static async start(keep: Keep): Promise<RealFleet> {
    // Stopped servers must stay registered.
    const registry = keep(await startRegistryProcess({ dev: true, lease: '10m' }))
    const job = { registry: registry.ready.url, services: ARMS.map(({ service }) => service) }
    const start = async (count: number, file: string, each: FleetServerJob | FleetClientJob): Promise<Subject[]> => {
      const started: Subject[] = []
      while (started.length < count) {
        const some = Array.from({ length: Math.min(AT_ONCE, count - started.length) }, async () =>
          keep(await Subject.start(new URL(file, import.meta.url), each)),
        )
        started.push(...(await Promise.all(some)))
      }
      return started
    }
    const servers = await start(SERVERS, './server-process.ts', job)
    return new RealFleet(registry, servers, await start(CLIENTS, './client-process.ts', job))
  }

  /**
   * Calls begin for `ms`. In `outage`, in ms from the beginning, all servers stand still. Returns
   * when all calls have ended.
   */
  async run(seed: number, shape: Shape, arms: readonly Arm[], ms: number, outage?: Outage): Promise<RealRun> {
    for (const { service, balancer, transport } of arms) {
      await applyPolicy(this.#registry.ready, { ...shape.options, service, balancer, transport })
    }
    await Promise.all(
      this.#servers.map((server, i) => {
        const { workers, meanMs } = shape
        return server.ask('serve', {
          seed: seed + 100 + i,
          workers,
          meanMs,
          speed: speedOf(shape, i),
        } satisfies ServeJob)
      }),
    )
    const from = runNow() + HEARD_MS
    const calls = this.#clients.map((client, k) =>
      client.ask<ClientTrace>('run', {
        ...{ seed: seed + 1_000 + k, perSecond: perSecond(shape) / CLIENTS },
        ...{ from, until: from + ms, services: arms.map(({ service }) => service) },
      } satisfies CallJob),
    )
    const backAt = outage === undefined ? from : await this.#standStill(from + outage.from, from + outage.until)
    const clients = await Promise.all(calls)
    // Work that has begun goes on when its caller has left.
    await pause(shape.meanMs * 8)
    const servers = await Promise.all(this.#servers.map((server) => server.ask<ServerTrace>('take')))
    return {
      from,
      backAt,
      traces: new Map(
        arms.map((arm) => [
          arm,
          {
            servers: servers.map(({ logs }) => logs[arm.service]!),
            clients: clients.map((client) => client.calls[arm.service]!),
          },
        ]),
      ),
      servers: servers.map(({ loop }) => loop),
      clients: clients.map(({ loop }) => loop),
    }
  }

  async #standStill(from: number, until: number): Promise<number> {
    await pause(from - runNow())
    for (const { child } of this.#servers) child.kill('SIGSTOP')
    await pause(until - runNow())
    for (const { child } of this.#servers) child.kill('SIGCONT')
    return runNow()
  }
}
