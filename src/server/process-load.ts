/**
 * How busy this process is, and how many requests its servers end a second. ORCA reports both, and
 * means the whole process by them.
 */
import { availableParallelism } from 'node:os'
import { performance } from 'node:perf_hooks'
import type { LoadReport } from '../core/load-report.ts'
import { OrcaWriter } from './orca-writer.ts'

/** Utilization and rates are those of the last such period. */
const WINDOW_MS = 1_000
/** After a longer silence they say nothing about now. */
const LONGEST_WINDOW_MS = 10_000

/** What the process has used since its start, in ms. */
export interface ProcessUse {
  /** The event loop ran, or waited. */
  readonly activeMs: number
  readonly idleMs: number
  /** Of all cores together. */
  readonly cpuMs: number
}

export class ProcessLoad {
  readonly #use: () => ProcessUse
  readonly #cores: number
  readonly #writer = new OrcaWriter()
  #requests = 0
  #errors = 0
  #since = Number.NEGATIVE_INFINITY
  #then: ProcessUse = { activeMs: 0, idleMs: 0, cpuMs: 0 }

  constructor(use = usedByUs, cores = availableParallelism()) {
    this.#use = use
    this.#cores = cores
  }

  /** A request of any server ends. `failed`: by a fault of the server. */
  ended(failed: boolean): void {
    this.#requests += 1
    if (failed) this.#errors += 1
  }

  /** The report as the header has it; `undefined`: nothing is known. `load`: of the server. */
  text(load: LoadReport | undefined, now: number): string | undefined {
    this.#refresh(now)
    return this.#writer.text(load)
  }

  /** The same as the trailer of gRPC has it. */
  binary(load: LoadReport | undefined, now: number): string | undefined {
    this.#refresh(now)
    return this.#writer.binary(load)
  }

  #refresh(now: number): void {
    const ms = now - this.#since
    if (ms < WINDOW_MS) return
    const use = this.#use()
    const activeMs = use.activeMs - this.#then.activeMs
    const loopMs = activeMs + use.idleMs - this.#then.idleMs
    if (ms > LONGEST_WINDOW_MS || loopMs <= 0) this.#writer.utilization(undefined)
    else {
      this.#writer.utilization({
        application: activeMs / loopMs,
        cpu: (use.cpuMs - this.#then.cpuMs) / ms / this.#cores,
        requestsPerSecond: (this.#requests * 1_000) / ms,
        errorsPerSecond: (this.#errors * 1_000) / ms,
      })
    }
    this.#since = now
    this.#then = use
    this.#requests = 0
    this.#errors = 0
  }
}

function usedByUs(): ProcessUse {
  const { active, idle } = performance.eventLoopUtilization()
  const { user, system } = process.cpuUsage()
  return { activeMs: active, idleMs: idle, cpuMs: (user + system) / 1_000 }
}

/** Of this process. */
export const processLoad = new ProcessLoad()
