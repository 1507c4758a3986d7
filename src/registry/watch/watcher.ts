/**
 * One stream to a watcher: a session or an event stream.
 */
/** Up to where a watcher knows a service, or, without one, all services it watches. */
export interface Position {
  readonly service?: string
  readonly revision: number
}

export interface Watcher {
  /** Whether it acknowledges what it was sent; others are not waited for. */
  readonly acknowledges: boolean
  /** Unique to this start of its process, over connections; `undefined`: not known. */
  readonly process?: string | undefined
  /** Bytes written and not yet taken by the socket. */
  backlog(): number
  write(line: Buffer, flushed?: () => void, position?: Position): void
  /** It has been blocked for too long. */
  close(reason: string): void
}
