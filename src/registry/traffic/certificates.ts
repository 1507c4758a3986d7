/** When the certificates of processes end, as a histogram with the first of each step. */
import type { ReportingProcess } from './processes.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
/** The time that is left, at most; `null`: any. The first have ended. */
const STEPS_MS = [0, 10 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS, 24 * HOUR_MS, 7 * 24 * HOUR_MS, null] as const
const MOST_NAMED = 20

/** Of a process with a session. */
export interface ProcessCertificate {
  readonly process: string
  readonly service: string
  /** Wall clock, ms; `null`: it joined without one. */
  readonly certificateEndsAt: number | null
}

export interface CertificateStep {
  /** Certificates that end within this time, and not within that of the step before. */
  readonly withinMs: number | null
  readonly processes: number
  /** Those that end first, at most 20. */
  readonly first: readonly ProcessCertificate[]
}

export interface CertificateHistogram {
  readonly processes: number
  /** Of these nothing is known. */
  readonly unknown: number
  readonly steps: readonly CertificateStep[]
}

export function certificatesOf(processes: Iterable<ReportingProcess>): ProcessCertificate[] {
  return [...processes].flatMap(({ name, service, session }) =>
    session === undefined
      ? []
      : [{ process: name, service, certificateEndsAt: Number.isFinite(session.notAfter) ? session.notAfter : null }],
  )
}

/** A process that moves between registries is one: its latest certificate counts. */
export function histogramOf(found: readonly ProcessCertificate[], wallNow: number): CertificateHistogram {
  const latest = new Map<string, ProcessCertificate>()
  for (const one of found) {
    const known = latest.get(one.process)
    if (known === undefined || (one.certificateEndsAt ?? 0) > (known.certificateEndsAt ?? 0))
      latest.set(one.process, one)
  }
  const all = [...latest.values()]
  const known = all.filter(({ certificateEndsAt }) => certificateEndsAt !== null)
  const byStep = Map.groupBy(known, ({ certificateEndsAt }) =>
    STEPS_MS.findIndex((most) => most === null || certificateEndsAt! - wallNow <= most),
  )
  const steps = STEPS_MS.map((withinMs, i) => {
    const ofStep = (byStep.get(i) ?? []).sort((a, b) => a.certificateEndsAt! - b.certificateEndsAt!)
    return { withinMs, processes: ofStep.length, first: ofStep.slice(0, MOST_NAMED) }
  })
  return { processes: all.length, unknown: all.length - known.length, steps }
}
