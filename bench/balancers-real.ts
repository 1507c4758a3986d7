/**
 * Do real processes agree with the simulator? 10 clients and 20 servers compare balancers, and
 * outlive an outage. `node bench/balancers-real.ts [--quick] [--json]`, after `npm run build`.
 */
import { figure, type Options, type Report, round, runQuestions, single, type Target, withSubjects } from './harness.ts'
import { RealFleet, type RealRun } from './real-fleet/fleet.ts'
import { type Measures, measuresOf, recoveryOf, type Traces } from './real-fleet/measures.ts'
import { mean, orderTargets, recoveryRow, steadyRow } from './real-fleet/report.ts'
import { ARMS, type Arm, BLACKOUT, BLACKOUT_ARMS, HETERO, OUTAGE_MS, type Shape, SPARSE } from './real-fleet/shape.ts'
import { simulated } from './real-fleet/simulated.ts'

/** Not counted: the balancers learn. */
const SETTLING_MS = 3_000
const COUNTED_MS = 20_000
const BLACKOUT_MS = 18_000
const OUTAGE = { from: 4_000, until: 4_000 + OUTAGE_MS }
/** The simulator's figures are means over these. */
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8]
/** A tenth of the shortest mean service time. Beyond, the machine decides who waits. */
const MOST_DELAY_MS = 15

/** Which endpoints are chosen while all is well: thin traffic, and unequal servers. */
export async function realBalancers({ quick }: Options): Promise<Report> {
  const runs = new Map<Shape, RealRun[]>([SPARSE, HETERO].map((shape) => [shape, []]))
  await withFleet(quick, async (fleet, seed) => {
    for (const [shape, done] of runs) done.push(await fleet.run(seed, shape, ARMS, SETTLING_MS + COUNTED_MS))
  })
  const all = [...runs].map(([shape, done]) => ({
    scenario: shape.name,
    arms: ARMS.map(({ name }) => name),
    found: ARMS.map((arm) => done.map(({ from, traces }) => counted(traces.get(arm)!, from))),
    predicted: ARMS.map((arm) => prediction(shape, arm)),
  }))
  return {
    title: 'Balancers of 10 clients and 20 servers, each a process; in brackets what the simulator predicts',
    rows: all.flatMap(({ scenario, arms, found, predicted }) =>
      arms.map((arm, i) => steadyRow(scenario, arm, found[i]!, predicted[i]!)),
    ),
    targets: [
      ...all.flatMap(({ scenario, found, predicted }) => orderTargets(scenario, predicted, found)),
      delayTarget([...runs.values()].flat()),
    ],
    figures: { realBalancers: all },
  }
}

/** All servers are stopped for 5 s and go on. */
export async function realBlackout({ quick }: Options): Promise<Report> {
  const runs: RealRun[] = []
  await withFleet(quick, async (fleet, seed) => {
    runs.push(await fleet.run(seed, BLACKOUT, BLACKOUT_ARMS, BLACKOUT_MS, OUTAGE))
  })
  const all = BLACKOUT_ARMS.map((arm) => ({
    arm: arm.name,
    found: runs.map(({ traces, backAt }) => recoveryOf(traces.get(arm)!, backAt)),
    predicted: SEEDS.map((seed) => recoveryOf(simulated(seed, BLACKOUT, arm, BLACKOUT_MS, OUTAGE), OUTAGE.until)),
  }))
  return {
    title: 'After 5 s in which all servers were stopped: the worst of all runs, in brackets that of the simulator',
    rows: all.map(({ arm, found, predicted }) => recoveryRow(arm, found, predicted)),
    targets: [
      ...all.map(({ arm, found }) => ({
        what: `${arm}: calls that failed after a client's first answer`,
        found: single(Math.max(...found.map(({ failedAfter }) => failedAfter))),
        wanted: { atMost: 0 },
      })),
      delayTarget(runs),
    ],
    figures: { realBlackout: all },
  }
}

async function withFleet(quick: boolean, work: (fleet: RealFleet, seed: number) => Promise<void>): Promise<void> {
  await withSubjects(async (keep) => {
    const fleet = await RealFleet.start(keep)
    for (let seed = 1; seed <= (quick ? 1 : 3); seed++) await work(fleet, seed)
  })
}

function prediction(shape: Shape, arm: Arm): Measures {
  return mean(SEEDS.map((seed) => counted(simulated(seed, shape, arm, SETTLING_MS + COUNTED_MS), 0)))
}

function counted({ servers }: Traces, from: number): Measures {
  return measuresOf(servers, from + SETTLING_MS, from + SETTLING_MS + COUNTED_MS)
}

/** Servers that were stopped are late by that. */
function delayTarget(runs: readonly RealRun[]): Target {
  const longest = Math.max(...runs.flatMap(({ clients }) => clients.map(({ maxMs }) => maxMs)))
  return {
    what: `ms by which an event loop is late, p99 of each process, a client by at most ${round(longest, 0)}`,
    found: figure(runs.flatMap(({ clients, servers }) => [...clients, ...servers].map(({ p99Ms }) => p99Ms))),
    wanted: { atMost: MOST_DELAY_MS },
  }
}

if (import.meta.main) await runQuestions([realBalancers, realBlackout])
