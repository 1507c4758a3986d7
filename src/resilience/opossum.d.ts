/** The parts of opossum 10 in use; the package ships no types. */
declare module 'opossum' {
  import type { EventEmitter } from 'node:events'

  export default class CircuitBreaker extends EventEmitter {
    constructor(action: (...args: never[]) => unknown, options: Record<string, unknown>)
    readonly options: Record<string, unknown>
    readonly name: string
    readonly group: string
    readonly enabled: boolean
    readonly isShutdown: boolean
    get closed(): boolean
    get opened(): boolean
    get halfOpen(): boolean
    get pendingClose(): boolean
    get volumeThreshold(): number
    fire(...args: unknown[]): Promise<unknown>
    open(): void
    close(): void
    enable(): void
    disable(): void
    shutdown(): void
    toJSON(): Record<string, unknown>
  }
}

declare module 'opossum/lib/status.js' {
  import type { EventEmitter } from 'node:events'

  export default class Status extends EventEmitter {
    constructor(options: Record<string, unknown>)
    readonly rotateBucket: () => void
    /** A copy; the first is the current bucket. */
    readonly window: Record<string, number>[]
    get stats(): Record<string, number>
    increment(property: string, latency?: number): void
  }
}
