/**
 * (h) Three instances at light load, of which one leaves: it is dead when 150 calls come at once,
 * or it closes its connections in order while calls are on a way of 60 ms. Nothing that was refused
 * so was executed; what is lost, is lost for want of a retry budget.
 */
import type { Attempt } from '../../src/core/attempt.ts'
import { type Outcome, outcome } from '../../src/core/outcome.ts'
import type { Instances } from '../../src/simulator/call.ts'
import { Chance } from '../../src/simulator/chance.ts'
import { at } from '../../src/simulator/load.ts'
import { answersAfter, type ServerParts, SimulatedServer } from '../../src/simulator/server.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { SimulatedClient } from './client.ts'

const INSTANCES = 3
const SERVICE_MS = 5
const DEVIATION_MS = 1
/** One way; there and back it is the latency. */
const WAY_MS = 60
/** As a client sees a stream beyond the last one of a GOAWAY: refused, without a status. */
const BEYOND = outcome('refused', 'refused-by-peer')

export interface Leaving {
  readonly how: 'dead' | 'in order'
  readonly calls: number
  readonly lost: number
  readonly attemptsPerCall: number
}

/** At the end of a long way; once it leaves, what has not arrived is refused. */
class DistantServer extends SimulatedServer {
  leaving = false
  readonly #clock: FakeClock

  constructor(parts: ServerParts & { readonly clock: FakeClock }) {
    super(parts)
    this.#clock = parts.clock
  }

  override receive(from: Attempt, answer: (outcome: Outcome) => void): () => void {
    const clock = this.#clock
    let giveUp: () => void
    const back = (ended: Outcome): void => {
      const timer = clock.startTimer(WAY_MS, answer, ended)
      giveUp = () => clock.stopTimer(timer)
    }
    const timer = clock.startTimer(
      WAY_MS,
      () => {
        if (this.leaving) back(BEYOND)
        else giveUp = super.receive(from, back)
      },
      undefined,
    )
    giveUp = () => clock.stopTimer(timer)
    return () => giveUp()
  }
}

/** 150 calls at once, while one of the instances that the client knows refuses connections. */
export function oneDead(seed: number): Leaving {
  const clock = new FakeClock({ seed })
  const chance = new Chance(seed)
  const instances = new Map<string, SimulatedServer | undefined>([['e0', undefined]])
  for (let i = 1; i < INSTANCES; i++) {
    const handler = answersAfter(clock, () => chance.normal(SERVICE_MS, DEVIATION_MS))
    instances.set(`e${i}`, new SimulatedServer({ clock, handler }))
  }
  return counted('dead', clock, instances, (send) => {
    for (let i = 0; i < 150; i++) send()
  })
}

/** 576 calls in waves, one of which is on its way to an instance that closes its connections. */
export function oneLeaves(seed: number): Leaving {
  const clock = new FakeClock({ seed })
  const chance = new Chance(seed)
  const handler = answersAfter(clock, () => chance.normal(SERVICE_MS, DEVIATION_MS))
  const servers = Array.from({ length: INSTANCES }, () => new DistantServer({ clock, handler }))
  const instances = new Map(servers.map((server, i) => [`e${i}`, server]))
  return counted('in order', clock, instances, (send, client) => {
    const waves = 4
    for (let wave = 0; wave < waves; wave++) {
      at(clock, 1 + wave * 1_000, () => {
        for (let i = 0; i < 576 / waves; i++) send()
      })
    }
    at(clock, 1_040, () => {
      servers[0]!.leaving = true
    })
    // The withdrawal is seen by those who call about when it is by the one who leaves.
    at(clock, 1_050, () => client.use(new Map([...instances].slice(1))))
  })
}

function counted(
  how: Leaving['how'],
  clock: FakeClock,
  instances: Instances,
  load: (send: () => void, client: SimulatedClient) => void,
): Leaving {
  // A call that may not be executed twice has only this way.
  const client = new SimulatedClient({ clock, idempotent: false })
  client.use(instances)
  let calls = 0
  let lost = 0
  let attempts = 0
  load(() => {
    calls += 1
    client.send((call, ended) => {
      attempts += call.attempts
      if (ended.verdict !== 'success') lost += 1
    })
  }, client)
  clock.advance(20_000)
  client.close()
  return { how, calls, lost, attemptsPerCall: attempts / calls }
}
