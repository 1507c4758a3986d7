/**
 * Names the series that the rings hold by number. Names come from members of the mesh, so each
 * caller has a share of them; what is more counts as `other`.
 */
import { OTHER } from '../../telemetry/traffic/traffic-message.ts'
import { KEPT_MS } from './slots.ts'

/** Of the whole mesh: 1,000 services that call 20 each, by two methods, have 40,000. */
const MOST_SERIES = 45_000
/** Of one caller. */
const MOST_PER_CALLER = 3_000
/** Services that one caller calls. */
const MOST_CALLED = 200
/** Those of them that this registry does not know. */
const MOST_UNKNOWN_CALLED = 50
/** Series of `other`, of which each edge needs one. */
const MOST_OTHERS = 10_000
/** Of the names of all series, in characters. */
const MOST_CHARACTERS = 8 * 1024 * 1024
const MOST_CODES = 250

/** What the calls of a series have in common. Absent texts are empty. */
export interface SeriesName {
  /** Empty: callers that are not of the mesh. */
  readonly from: string
  readonly to: string
  /** The service that was called, if a route led to another. */
  readonly via: string
  readonly protocol: string
  readonly method: string
  readonly route: string
  readonly version: string
  readonly zone: string
  /** All its calls that reached an endpoint were mutually authenticated; `undefined`: none did. */
  readonly tls: boolean | undefined
}

export interface Series extends SeriesName {
  readonly id: number
}

interface Entry {
  readonly series: Series
  readonly key: string
  readonly isOther: boolean
  usedAt: number
}

interface Caller {
  series: number
  readonly called: Map<string, { readonly isKnown: boolean; series: number }>
  unknown: number
}

export class SeriesTable {
  /** Times that a series was counted as `other`, or not even that. */
  folded = 0
  readonly #isKnown: (service: string) => boolean
  readonly #entries: (Entry | undefined)[] = []
  readonly #free: number[] = []
  readonly #byKey = new Map<string, Entry>()
  readonly #callers = new Map<string, Caller>()
  readonly #codes = new Map<string, number>()
  readonly #codeNames: string[] = []
  #characters = 0
  #others = 0

  /** `isKnown`: whether the registry has heard of a service. */
  constructor(isKnown: (service: string) => boolean) {
    this.#isKnown = isKnown
  }

  get size(): number {
    return this.#byKey.size
  }

  /** The number of a series; of one too many, that of `other`. `undefined`: not even that. */
  number(name: SeriesName, now: number): number | undefined {
    const { from, to } = name
    const own = this.#number(name, now, false)
    if (own !== undefined) return own
    this.folded += 1
    return this.#number(otherOf(from, to), now, true) ?? this.#number(otherOf(from, OTHER), now, true)
  }

  get(id: number): Series | undefined {
    return this.#entries[id]?.series
  }

  /** The number of an error code; of one too many, that of `other`. */
  code(name: string): number {
    const known = this.#codes.get(name)
    if (known !== undefined) return known
    if (this.#codeNames.length >= MOST_CODES && name !== OTHER) return this.code(OTHER)
    this.#codes.set(name, this.#codeNames.length)
    return this.#codeNames.push(name) - 1
  }

  codeName(id: number): string {
    return this.#codeNames[id] ?? OTHER
  }

  /** Frees the numbers that no record has any more. */
  forget(now: number): void {
    for (const entry of this.#byKey.values()) {
      // A slot more than is kept: what is late may name it after its last use.
      if (now - entry.usedAt > KEPT_MS + 600_000) this.#remove(entry)
    }
  }

  #number(name: SeriesName, now: number, isOther: boolean): number | undefined {
    const key = keyOf(name)
    const known = this.#byKey.get(key)
    if (known !== undefined) {
      known.usedAt = now
      return known.series.id
    }
    const caller = this.#callers.get(name.from) ?? { series: 0, called: new Map(), unknown: 0 }
    if (!this.#admits(caller, name, key, isOther)) return undefined
    this.#callers.set(name.from, caller)
    const called = caller.called.get(name.to) ?? { isKnown: this.#isKnown(name.to), series: 0 }
    if (called.series === 0) {
      caller.called.set(name.to, called)
      if (!called.isKnown) caller.unknown += 1
    }
    called.series += 1
    caller.series += 1
    if (isOther) this.#others += 1
    this.#characters += key.length
    const id = this.#free.pop() ?? this.#entries.length
    const entry: Entry = { series: { ...name, id }, key, isOther, usedAt: now }
    this.#entries[id] = entry
    this.#byKey.set(key, entry)
    return id
  }

  #admits(caller: Caller, { to }: SeriesName, key: string, isOther: boolean): boolean {
    if (this.#characters + key.length > MOST_CHARACTERS) return false
    if (isOther && to === OTHER) return this.#others < 2 * MOST_OTHERS
    if (!caller.called.has(to)) {
      if (caller.called.size >= MOST_CALLED) return false
      if (caller.unknown >= MOST_UNKNOWN_CALLED && !this.#isKnown(to)) return false
    }
    if (isOther) return this.#others < MOST_OTHERS
    return caller.series < MOST_PER_CALLER && this.#byKey.size - this.#others < MOST_SERIES
  }

  #remove({ series, key, isOther }: Entry): void {
    const { id, from, to } = series
    this.#byKey.delete(key)
    this.#entries[id] = undefined
    this.#free.push(id)
    this.#characters -= key.length
    if (isOther) this.#others -= 1
    const caller = this.#callers.get(from)!
    const called = caller.called.get(to)!
    caller.series -= 1
    called.series -= 1
    if (called.series > 0) return
    caller.called.delete(to)
    if (!called.isKnown) caller.unknown -= 1
    if (caller.series === 0) this.#callers.delete(from)
  }
}

function otherOf(from: string, to: string): SeriesName {
  return { from, to, via: '', protocol: '', method: '', route: OTHER, version: '', zone: '', tls: undefined }
}

/** No text of a series has a line break. */
function keyOf({ from, to, via, protocol, method, route, version, zone, tls }: SeriesName): string {
  return `${from}\n${to}\n${via}\n${protocol}\n${method}\n${route}\n${version}\n${zone}\n${tls ?? ''}`
}
