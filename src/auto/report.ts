/** Tells what is meshed and what is not, on stderr: stdout is the application's. */

/** Hosts that are remembered; a crawler calls many. */
const MOST = 100

type Counts = Map<string, Map<string, number>>

export class Report {
  readonly #enabled: boolean
  readonly #calls: Counts = new Map()
  readonly #outside: Counts = new Map()
  readonly #told = new Set<string>()

  /** `enabled`: tells everything; otherwise what went wrong. */
  constructor(enabled: boolean) {
    this.#enabled = enabled
    if (enabled) process.once('exit', () => this.#summarize())
  }

  tell(line: string): void {
    if (this.#enabled) print(line)
  }

  /** Something that the user has to know of, once. */
  warn(line: string): void {
    if (this.#told.has(line)) return
    if (this.#told.size < MOST) this.#told.add(line)
    print(line)
  }

  /** A call that went through the mesh. `by`: the client, such as `fetch`. */
  called(service: string, by: string): void {
    if (this.#enabled) count(this.#calls, service, by)
  }

  /** A call to another host. */
  passed(host: string, by: string): void {
    if (this.#enabled) count(this.#outside, host, by)
  }

  #summarize(): void {
    if (this.#calls.size > 0) print(`called through the mesh: ${list(this.#calls)}`)
    if (this.#outside.size > 0) print(`called outside the mesh: ${list(this.#outside)}`)
  }
}

function count(counts: Counts, name: string, by: string): void {
  let one = counts.get(name)
  if (one === undefined) {
    if (counts.size >= MOST) return
    one = new Map()
    counts.set(name, one)
  }
  one.set(by, (one.get(by) ?? 0) + 1)
}

function list(counts: Counts): string {
  const texts = [...counts].map(
    ([name, by]) => `${name} (${[...by].map(([client, n]) => `${client} ${n}`).join(', ')})`,
  )
  return `${texts.join(', ')}${counts.size >= MOST ? ', and maybe others' : ''}`
}

function print(line: string): void {
  process.stderr.write(`inmesh: ${line}\n`)
}
