/** Ends a command that runs until a signal. */

export interface UntilSignal {
  /** Resolves at the first SIGTERM or SIGINT. */
  readonly signal: Promise<void>
  forget(): void
}

/** A second signal ends the process at once, as the shell would report it. */
export function untilSignal(): UntilSignal {
  const { promise, resolve } = Promise.withResolvers<void>()
  let isSignaled = false
  const onSignal = (_name: string, number: number): void => {
    if (isSignaled) process.exit(128 + number)
    isSignaled = true
    resolve()
  }
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
  return { signal: promise, forget: () => process.off('SIGTERM', onSignal).off('SIGINT', onSignal) }
}
