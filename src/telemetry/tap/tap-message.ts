/**
 * The messages of taps: a registry asks a process for some of its calls as they end, for an
 * operator who watches, and the process sends them in batches.
 */

export const TAP_LIMITS = Object.freeze({
  /** That one process serves at once. */
  taps: 8,
  /** Names of headers in one tap, and characters of a value. */
  headers: 8,
  header: 128,
  path: 1_024,
  /** Characters of other texts. */
  text: 256,
  statuses: 20,
  /** Calls in one message, and calls that wait in the process. */
  batch: 50,
  waiting: 200,
  /** Calls of one process per second. */
  perSecond: { min: 1, max: 100 },
  forMs: { min: 1_000, max: 600_000 },
  /** Calls of one tap. */
  calls: { min: 1, max: 10_000 },
})

/** Which calls: those to `service`, or served by it to callers that are not of the mesh. */
export interface TapFilter {
  readonly service: string
  /** The caller's service, or `outside`. Absent: any. */
  readonly from?: string | undefined
  /** As routes write it: `/items/42`, `/items/{id}`, `/items/*`. A gRPC call's is its method. */
  readonly path?: string | undefined
  /** Of HTTP. */
  readonly method?: string | undefined
  /** `503`, `5xx`, or `none` for calls without an answer. Absent: any. */
  readonly statuses?: readonly string[] | undefined
}

export interface TapMessage extends TapFilter {
  readonly type: 'tap'
  /** Names the tap in what is sent for it. */
  readonly tap: string
  /** The operator who watches. */
  readonly by?: string | undefined
  /** In lower case. Secret ones are never sent. */
  readonly headers: readonly string[]
  readonly perSecond: number
  /** It ends by itself after this time. */
  readonly forMs: number
}

/** One call that has ended. Texts are safe to print. */
export interface TappedCall {
  /** Wall clock of the process, ms: its end. */
  readonly at: number
  /** `server`: served to a caller that is not of the mesh. Absent: made by the process. */
  readonly side?: 'server'
  /** The service that was called. */
  readonly to: string
  readonly protocol: string
  readonly method: string
  /** Without its query. */
  readonly path?: string
  /** HTTP or gRPC status; absent: no answer came. */
  readonly status?: number
  /** Why it failed. */
  readonly code?: string
  readonly ms: number
  readonly attempts: number
  readonly hedged?: true
  /** That gave the final answer, as `address:port`. */
  readonly endpoint?: string
  readonly version?: string
  readonly route?: string
  readonly trace?: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface TappedMessage {
  readonly type: 'tapped'
  readonly tap: string
  readonly calls: readonly TappedCall[]
  /** Calls that matched and were more than the rate since the last message. */
  readonly left?: number
  /** It sends none: it serves as many taps as it may. Absent: it does, or is older. */
  readonly refused?: true
}
