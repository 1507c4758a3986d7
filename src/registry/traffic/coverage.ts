/**
 * How much of a window was heard of the processes that were expected to report. A process that was
 * at several registries is one: what any of them heard is heard.
 */
import { lengthWithin, union, without } from './intervals.ts'
import type { LocalAnswer, ProcessSpan } from './local-answer.ts'
import type { Span } from './slots.ts'

/** Names in an answer. */
const MOST_NAMED = 100

export interface CoveredProcess {
  readonly name: string
  readonly service: string
  readonly reports: boolean
  readonly expected: readonly Span[]
  readonly missing: readonly Span[]
  /** Wall clock, ms. */
  readonly notAfter: number | undefined
}

/** In an answer. */
export interface CoverageSummary {
  /** Expected to report for at least a part of the window. */
  readonly processes: number
  /** Of which everything was heard. */
  readonly heard: number
  /** The others, by name; at most 100. */
  readonly silent: readonly string[]
  /** Those of them that are of an older version and never report. */
  readonly notReporting: number
  /** Registries that answered, and those that did not, with the reason. */
  readonly registries: readonly string[]
  readonly unreachable: readonly { readonly registry: string; readonly reason: string }[]
}

export class Coverage {
  readonly #byService = new Map<string, CoveredProcess[]>()
  readonly #all: CoveredProcess[] = []

  constructor(answers: readonly LocalAnswer[]) {
    const byName = new Map<string, ProcessSpan[]>()
    for (const { processes } of answers) {
      for (const process of processes) {
        const same = byName.get(process.name)
        if (same === undefined) byName.set(process.name, [process])
        else same.push(process)
      }
    }
    for (const spans of byName.values()) {
      const process = covered(spans)
      this.#all.push(process)
      const ofService = this.#byService.get(process.service)
      if (ofService === undefined) this.#byService.set(process.service, [process])
      else ofService.push(process)
    }
  }

  get services(): Iterable<string> {
    return this.#byService.keys()
  }

  of(service: string): readonly CoveredProcess[] {
    return this.#byService.get(service) ?? []
  }

  /** The share of these services' expected time that was not heard; 0 if none was expected. */
  gap(services: Iterable<string>, span: Span): number {
    let expected = 0
    let missing = 0
    for (const service of services) {
      for (const process of this.of(service)) {
        expected += lengthWithin(process.expected, span)
        missing += lengthWithin(process.missing, span)
      }
    }
    return expected === 0 ? 0 : missing / expected
  }

  summary(
    answers: readonly LocalAnswer[],
    unreachable: readonly { readonly registry: string; readonly reason: string }[],
  ): CoverageSummary {
    const silent = this.#all.filter(({ missing }) => missing.length > 0)
    return {
      processes: this.#all.length,
      heard: this.#all.length - silent.length,
      silent: silent.slice(0, MOST_NAMED).map(({ name }) => name),
      notReporting: silent.filter(({ reports }) => !reports).length,
      registries: answers.map(({ registry }) => registry),
      unreachable,
    }
  }
}

function covered(spans: readonly ProcessSpan[]): CoveredProcess {
  const { name, service } = spans[0]!
  const expected = union(spans)
  const heard = spans.flatMap((span) => {
    const holes = union(span.holes.map(([from, to]) => ({ from, to })))
    return without([span], holes)
  })
  const ends = spans.flatMap(({ notAfter }) => (notAfter === undefined ? [] : [notAfter]))
  return {
    name,
    service,
    reports: spans.some(({ reports }) => reports),
    expected,
    missing: without(expected, union(heard)),
    notAfter: ends.length === 0 ? undefined : Math.max(...ends),
  }
}
