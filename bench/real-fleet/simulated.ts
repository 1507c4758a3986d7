/** The same fleet on a fake clock: what the simulator predicts of each balancer. */
import { outcome, SUCCESS } from '../../src/core/outcome.ts'
import { Chance } from '../../src/simulator/chance.ts'
import { at, offer } from '../../src/simulator/load.ts'
import { SimulatedServer } from '../../src/simulator/server.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { SimulatedClient } from '../simulator/client.ts'
import type { Sent, Traces } from './measures.ts'
import { type Arm, CLIENTS, perSecond, SERVERS, type Shape, speedOf } from './shape.ts'
import { WorkQueue } from './work-queue.ts'

/** All servers answer nothing meanwhile, as after SIGSTOP: what arrives waits unread. */
export interface Outage {
  readonly from: number
  readonly until: number
}

const GONE = outcome('cancelled', 'cancelled')

export function simulated(seed: number, shape: Shape, arm: Arm, ms: number, outage?: Outage): Traces {
  const clock = new FakeClock({ seed })
  const now = (): number => clock.now()
  const queues = Array.from({ length: SERVERS }, (_, i) => {
    const chance = new Chance(seed + 100 + i)
    return new WorkQueue({
      workers: shape.workers,
      workMs: () => chance.positiveNormal(shape.meanMs) / speedOf(shape, i),
      now,
      startTimer: (after, fire) => clock.startTimer(after, fire, undefined),
    })
  })
  const servers = queues.map(
    (queue) =>
      new SimulatedServer({
        clock,
        roundTripMs: 1,
        reports: arm.transport === 'auto',
        handler: (call, reply) => {
          // A caller who leaves while all stand still was never seen.
          let leave = (): boolean => true
          call.whenCancelled = () => {
            // A server counts a request until its handler is done.
            if (leave()) reply(GONE)
          }
          const arrive = (): void => {
            if (!call.cancelled) leave = queue.push(call.startedAt, () => reply(SUCCESS))
          }
          if (outage === undefined || now() < outage.from || now() >= outage.until) arrive()
          else at(clock, outage.until, arrive)
        },
      }),
  )
  const options = { ...shape.options, balancer: arm.balancer }
  const clients = Array.from({ length: CLIENTS }, (_, k) => {
    const client = new SimulatedClient({ clock, options })
    client.use(new Map(servers.map((server, i) => [`e${i}`, server])))
    const calls: Sent[] = []
    offer(
      clock,
      new Chance(seed + 1_000 + k),
      () => perSecond(shape) / CLIENTS,
      ms,
      () => {
        client.send(({ startedAt }, { verdict }) =>
          calls.push({ begunAt: startedAt, endedAt: now(), good: verdict === 'success' }),
        )
      },
    )
    return { client, calls }
  })
  clock.advance(ms + 4 * shape.options.timeout)
  for (const { client } of clients) client.close()
  return {
    servers: queues.map(({ log }, i) => ({ workers: shape.workers, speed: speedOf(shape, i), served: log })),
    clients: clients.map(({ calls }) => calls),
  }
}
