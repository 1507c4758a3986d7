/**
 * Measures what taps cost a process: nothing while there is none, and what one costs a call that it
 * passes over or shows. `node bench/tap.ts [--quick] [--json]`, after `npm run build`.
 */
import { Attempt } from '../src/core/attempt.ts'
import { Call, type CallKind } from '../src/core/call.ts'
import { systemClock } from '../src/core/clock.ts'
import { SUCCESS } from '../src/core/outcome.ts'
import { type CallTelemetry, createTelemetry } from '../src/telemetry/call-telemetry.ts'
import { Metrics } from '../src/telemetry/metrics.ts'
import { Taps } from '../src/telemetry/tap/taps.ts'
import { figure, type Options, type Report, round, runQuestions } from './harness.ts'

const KIND: CallKind = {
  ...{ service: 'inventory', method: 'GET', protocol: 'http' },
  ...{ streaming: false, idempotent: true },
}
const CALLS = 2_000
/** Telemetry of one call takes about 150 ns; two that run the same differ by some of them. */
const AT_MOST_NS = 5

export async function tap({ quick }: Options): Promise<Report> {
  const rounds = quick ? 400 : 4_000
  const [without, again] = [telemetry(undefined), telemetry(undefined)]
  const idle = telemetry(new Taps('checkout', systemClock))
  const other = telemetry(tapping('other', 1))
  const shown = telemetry(tapping('inventory', 100))
  for (const one of [without, again, idle, other, shown]) for (let i = 0; i < 200; i++) timed(one)
  const added = figure(paired(rounds, without, idle))
  const noise = figure(paired(rounds, without, again))
  const best = (of: CallTelemetry): number => Math.min(...Array.from({ length: rounds / 4 }, () => timed(of)))
  const [base, passed, sampled] = [best(without), best(other), best(shown)]
  return {
    title: 'What taps cost the calls of a process',
    rows: [
      { what: 'telemetry of a call without taps, ns', found: round(base, 0) },
      { what: 'two without taps differ by, ns', found: round(noise.median, 1) },
      { what: 'a tap of another service adds, ns', found: round(passed - base, 0) },
      { what: 'a tap that is beyond its rate adds, ns', found: round(sampled - base, 0) },
    ],
    targets: [{ what: 'ns of a call while there is no tap', found: added, wanted: { atMost: AT_MOST_NS } }],
    figures: { tap: { idleNs: added.median, passedNs: passed - base, sampledNs: sampled - base } },
  }
}

function telemetry(taps: Taps | undefined): CallTelemetry {
  const options = { side: 'client', service: 'checkout', metrics: new Metrics(), clock: systemClock } as const
  return createTelemetry({ ...options, taps })
}

function tapping(service: string, perSecond: number): Taps {
  const taps = new Taps('checkout', systemClock)
  const asked = { type: 'tap', tap: 't', service, headers: [], perSecond, forMs: 600_000 } as const
  taps.begin(asked, () => true, { isReady: true, send: () => {} })
  return taps
}

/** What `other` takes more. The two take turns, so that what else runs meets both. */
function paired(rounds: number, one: CallTelemetry, other: CallTelemetry): number[] {
  return Array.from({ length: rounds }, (_, round) => {
    if (round % 2 === 0) return -timed(one) + timed(other)
    return timed(other) - timed(one)
  })
}

/** In ns of one call, begin to end. */
function timed(telemetry: CallTelemetry): number {
  const startedAt = performance.now()
  for (let i = 0; i < CALLS; i++) {
    const call = new Call(KIND, startedAt, Number.POSITIVE_INFINITY, undefined)
    telemetry.callStarted(call)
    const attempt = new Attempt(call)
    telemetry.attemptStarted(attempt)
    telemetry.attemptEnded(attempt, SUCCESS, -1)
    telemetry.callEnded(call, SUCCESS)
  }
  return ((performance.now() - startedAt) * 1e6) / CALLS
}

if (import.meta.main) {
  await runQuestions([tap])
  process.exit()
}
