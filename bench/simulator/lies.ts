/** What servers may report instead of the truth. */
import type { LoadReport } from '../../src/core/load-report.ts'

type Lie = (truth: LoadReport) => LoadReport

/** Differs with each answer, and is the same for the same truth. */
const random: Lie = ({ inFlight, latencyMs, servedMs }) => {
  const drawn = Math.abs(Math.sin(1_000 * (inFlight + latencyMs + servedMs)))
  return { inFlight: Math.floor(100 * drawn), latencyMs: 1 + 200 * drawn, servedMs: 200 * (1 - drawn) }
}

export const LIES = {
  /** The network, which a caller adds, seems to take no time either. */
  idle: () => ({ inFlight: 0, latencyMs: 0.001, servedMs: 60_000 }),
  overloaded: () => ({ inFlight: 1_000_000, latencyMs: 60_000, servedMs: 60_000 }),
  random,
  absurd: () => ({ inFlight: -1, latencyMs: Number.POSITIVE_INFINITY, servedMs: Number.NaN }),
} satisfies Readonly<Record<string, Lie>>

export type LieName = keyof typeof LIES
