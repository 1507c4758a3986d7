/** What was counted of some calls, and sums of such counts. Latencies are counted by the
 * steps of digests. */
import { addDigest, DIGEST_STEPS } from '../../telemetry/traffic/latency-digest.ts'

export class Totals {
  calls = 0
  retries = 0
  hedges = 0
  mirrored = 0
  /** Failures by id of their code. */
  readonly codes = new Map<number, number>()
  /** Answered calls by the step of their latency. */
  readonly steps = new Float64Array(DIGEST_STEPS)
  /** The first and last step in use; `first > last`: none is. */
  first = DIGEST_STEPS
  last = -1

  get failures(): number {
    let failures = 0
    for (const count of this.codes.values()) failures += count
    return failures
  }

  get isEmpty(): boolean {
    const { calls, retries, hedges, mirrored, codes, first, last } = this
    return calls + retries + hedges + mirrored + codes.size === 0 && first > last
  }

  clear(): void {
    this.calls = 0
    this.retries = 0
    this.hedges = 0
    this.mirrored = 0
    if (this.codes.size > 0) this.codes.clear()
    if (this.first <= this.last) this.steps.fill(0, this.first, this.last + 1)
    this.first = DIGEST_STEPS
    this.last = -1
  }

  addFailures(code: number, count: number): void {
    if (count > 0) this.codes.set(code, (this.codes.get(code) ?? 0) + count)
  }

  addLatencies(step: number, count: number): void {
    if (count <= 0) return
    this.steps[step]! += count
    if (step < this.first) this.first = step
    if (step > this.last) this.last = step
  }

  /** Of a digest that was checked. */
  addDigest(text: string): void {
    if (text === '') return
    addDigest(text, this.steps)
    this.#bound(0, DIGEST_STEPS - 1)
  }

  add(other: Totals): void {
    this.calls += other.calls
    this.retries += other.retries
    this.hedges += other.hedges
    this.mirrored += other.mirrored
    for (const [code, count] of other.codes) this.addFailures(code, count)
    for (let step = other.first; step <= other.last; step++) this.addLatencies(step, other.steps[step]!)
  }

  /** Finds the steps in use, from `first` to `last`. */
  #bound(first: number, last: number): void {
    while (first <= last && this.steps[first] === 0) first += 1
    while (last >= first && this.steps[last] === 0) last -= 1
    if (first > last) return
    this.first = Math.min(this.first, first)
    this.last = Math.max(this.last, last)
  }
}
