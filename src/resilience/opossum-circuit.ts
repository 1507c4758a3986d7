/**
 * A real opossum circuit that runs on our clock. Windows rotate and circuits half-open when they
 * are read, not by timers: a circuit costs no timer, and tests are exact.
 */
import type { EventEmitter } from 'node:events'
import CircuitBreaker from 'opossum'
import Status from 'opossum/lib/status.js'
import type { Clock } from '../core/clock.ts'
import { notifyListener } from './notify-listener.ts'

/** An opossum `CircuitBreaker`, as exporters for opossum expect it. */
export interface OpossumCircuit extends EventEmitter {
  readonly name: string
  readonly group: string
  readonly enabled: boolean
  /** Those of opossum, in force now. */
  readonly options: Readonly<Record<string, unknown>>
  readonly closed: boolean
  readonly opened: boolean
  readonly halfOpen: boolean
  readonly stats: Readonly<Record<string, number>>
  open(): void
  close(): void
  enable(): void
  disable(): void
  toJSON(): Record<string, unknown>
}

/** What the policy needs beyond what users see. */
export interface DrivenCircuit extends OpossumCircuit {
  /** Open, and for long enough: becomes half-open. */
  wake(): void
  succeeded(latencyMs: number, now: number): void
  /** Counts a failure; opossum's own rule decides whether to open. */
  failed(cause: unknown, now: number): void
  rejected(now: number): void
  configure(settings: CircuitSettings): void
  shutdown(): void
}

export interface CircuitSettings {
  readonly errorThreshold: number
  readonly windowMs: number
  readonly minimumCalls: number
  readonly resetAfterMs: number
}

/** The states that opossum tells, by its own words. */
export type StateListener = (state: 'open' | 'halfOpen' | 'close') => void

const BUCKETS = 10

/** Stands where opossum expects an emitter of `rotate` events, so that it starts no timer. */
const NEVER_ROTATES = Object.freeze({ on() {}, removeListener() {}, listenerCount: () => 1 })

class LazyStatus extends Status {
  readonly #clock: Clock
  #bucketMs: number
  #turnedAt: number
  #current: Record<string, number>

  constructor(options: Record<string, unknown>, clock: Clock, windowMs: number) {
    super(options)
    this.#clock = clock
    this.#bucketMs = windowMs / BUCKETS
    this.#turnedAt = clock.now()
    this.#current = this.window[0]!
  }

  set windowMs(ms: number) {
    this.#bucketMs = ms / BUCKETS
  }

  /** Forgets everything: a healed service starts with a clean window, as in Hystrix. */
  reset(): void {
    for (let i = 0; i < BUCKETS; i++) this.rotateBucket()
    this.#turnedAt = this.#clock.now()
    this.#current = this.window[0]!
  }

  /**
   * opossum keeps a latency sample of every call within the window, even with percentiles off; here
   * none is kept.
   */
  override increment(property: string): void {
    this.#current[property]! += 1
  }

  succeeded(): void {
    const current = this.#current as { fires: number; successes: number }
    current.fires += 1
    current.successes += 1
  }

  override get stats(): Record<string, number> {
    this.turn(this.#clock.now())
    return super.stats
  }

  /**
   * Called before each count and read; once is enough for all counts of one settled call.
   */
  turn(now: number): void {
    if (now - this.#turnedAt < this.#bucketMs) return
    const passed = Math.floor((now - this.#turnedAt) / this.#bucketMs)
    for (let i = Math.min(passed, BUCKETS); i > 0; i--) this.rotateBucket()
    this.#turnedAt += passed * this.#bucketMs
    this.#current = this.window[0]!
  }
}

class ClockedCircuit extends CircuitBreaker implements DrivenCircuit {
  readonly #status: LazyStatus
  #minimumCalls: number
  /**
   * opossum itself knows only closed and open here; this is the difference between open and
   * half-open.
   */
  #half = false
  /** Somebody besides opossum wants to hear of successes. */
  #listened = false
  readonly #onState: StateListener

  constructor(name: string, settings: CircuitSettings, clock: Clock, onState: StateListener) {
    // A new object: opossum writes to it.
    const options: Record<string, unknown> = {
      name,
      timeout: false,
      enableSnapshots: false,
      rollingPercentilesEnabled: false,
      rollingCountBuckets: BUCKETS,
      rollingCountTimeout: settings.windowMs,
      resetTimeout: settings.resetAfterMs,
      errorThresholdPercentage: settings.errorThreshold * 100,
      volumeThreshold: settings.minimumCalls,
      rotateBucketController: NEVER_ROTATES,
    }
    const status = new LazyStatus(options, clock, settings.windowMs)
    options.status = status
    super((cause: unknown) => {
      throw cause
    }, options)
    this.#status = status
    this.#minimumCalls = settings.minimumCalls
    this.#onState = onState
    // Of opossum's two listeners, the second starts the timer that half-opens by the wall clock.
    const [count] = this.listeners('open') as (() => void)[]
    this.removeAllListeners('open')
    this.on('open', count!)
    this.on('close', () => status.reset())
    this.on('newListener', (event) => {
      if (event === 'fire' || event === 'success') this.#listened = true
    })
    this.on('removeListener', (event) => {
      if (event !== 'fire' && event !== 'success') return
      this.#listened = this.listenerCount('fire') !== 1 || this.listenerCount('success') !== 2
    })
  }

  get stats(): Record<string, number> {
    return this.#status.stats
  }

  override get opened(): boolean {
    return super.opened && !this.#half
  }

  override get halfOpen(): boolean {
    return super.opened && this.#half
  }

  override get pendingClose(): boolean {
    return this.halfOpen
  }

  override get volumeThreshold(): number {
    return this.#minimumCalls
  }

  override open(): void {
    if (!super.opened) super.open()
    else if (this.#half) {
      this.#half = false
      this.emit('open')
    }
  }

  override close(): void {
    if (this.closed) return
    this.#half = false
    super.close()
  }

  /**
   * Tells each listener, whatever the one before it throws: listeners are an exporter's or the
   * application's, and stand in the middle of the settling of a call. The breaker itself hears
   * first, and not as a listener that others could remove.
   */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event === 'open' || event === 'halfOpen' || event === 'close') this.#onState(event)
    const listeners = this.rawListeners(event)
    for (const listener of listeners) notifyListener(this, event, listener, args)
    return listeners.length > 0
  }

  wake(): void {
    if (!this.opened) return
    this.#half = true
    this.emit('halfOpen', this.options.resetTimeout)
  }

  succeeded(latencyMs: number, now: number): void {
    this.#status.turn(now)
    // The same without emitting, while no listener but opossum is there: its counters, and
    // what ends half-open.
    if (!this.#listened && !this.#half) {
      this.#status.succeeded()
      return
    }
    this.emit('fire')
    this.emit('success', undefined, latencyMs)
  }

  failed(cause: unknown, now: number): void {
    this.#status.turn(now)
    this.fire(cause).catch(ignore)
  }

  rejected(now: number): void {
    this.#status.turn(now)
    // opossum builds an Error with a stack for each rejection; here only if somebody besides
    // opossum's counter listens.
    if (this.listenerCount('reject') > 1) {
      this.emit('reject', Object.assign(new Error('Breaker is open'), { code: 'EOPENBREAKER' }))
    } else this.#status.increment('rejects')
  }

  configure(settings: CircuitSettings): void {
    this.options.errorThresholdPercentage = settings.errorThreshold * 100
    this.options.resetTimeout = settings.resetAfterMs
    this.options.volumeThreshold = settings.minimumCalls
    this.options.rollingCountTimeout = settings.windowMs
    this.#status.windowMs = settings.windowMs
    this.#minimumCalls = settings.minimumCalls
  }
}

function ignore(): void {}

// Weak: circuits of functions that are guarded again and again must not pile up.
const listed = new Set<WeakRef<OpossumCircuit>>()
const gone = new FinalizationRegistry<WeakRef<OpossumCircuit>>((reference) => listed.delete(reference))

/** `onState`: told of each change before all listeners. */
export function createCircuit(
  name: string,
  settings: CircuitSettings,
  clock: Clock,
  onState: StateListener,
): DrivenCircuit {
  const circuit = new ClockedCircuit(name, settings, clock, onState)
  const reference = new WeakRef<OpossumCircuit>(circuit)
  listed.add(reference)
  gone.register(circuit, reference, circuit)
  circuit.once('shutdown', () => {
    listed.delete(reference)
    gone.unregister(circuit)
  })
  return circuit
}

/**
 * All circuits of this process, of services and of guarded functions, so that exporters made for
 * opossum can be attached.
 *
 * @example
 * ```ts
 * import PrometheusMetrics from 'opossum-prometheus'
 * new PrometheusMetrics({ circuits: circuits() })
 * ```
 */
export function circuits(): readonly OpossumCircuit[] {
  const alive: OpossumCircuit[] = []
  for (const reference of listed) {
    const circuit = reference.deref()
    if (circuit !== undefined) alive.push(circuit)
  }
  return alive
}
