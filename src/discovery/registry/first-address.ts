/**
 * Several addresses of one registry, asked side by side like the addresses of a host (RFC 8305), so
 * that a silent one costs a moment. The one that answered last is asked first.
 */
import type { Clock } from '../../core/clock.ts'
import { MeshError } from '../../core/errors.ts'

/**
 * An address that is silent for so long gets company (RFC 8305 section 8: 100 ms to 2 s; a TLS
 * handshake is included here).
 */
export const STAGGER_MS = 300

/** The addresses of the registry, shared by all who talk to it. */
export class RegistryAddresses {
  readonly all: readonly string[]
  #preferred: string | undefined

  constructor(all: readonly string[]) {
    this.all = all
  }

  /** The one that answered last first. */
  get inOrder(): readonly string[] {
    const preferred = this.#preferred
    return preferred === undefined ? this.all : [preferred, ...this.all.filter((one) => one !== preferred)]
  }

  /** Those on loopback, in the same order. */
  get onLoopback(): readonly string[] {
    return this.inOrder.filter(isOnLoopback)
  }

  answered(address: string): void {
    this.#preferred = address
  }

  failed(address: string): void {
    if (this.#preferred === address) this.#preferred = undefined
  }
}

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

export function isOnLoopback(address: string): boolean {
  return LOOPBACK.has(new URL(address).hostname)
}

export interface FirstAddressOptions {
  readonly clock: Clock
  /** Of the whole search. */
  readonly timeoutMs: number
  /** Whether a failure would be the same at every address. */
  readonly isFinal: (error: unknown) => boolean
}

/**
 * The first answer. The next address is asked when one fails, or is silent for {@link STAGGER_MS};
 * the losers' `signal` is aborted. Rejects with a final failure, with the first failure when all
 * have failed, or with `registry-unavailable`.
 */
export function firstAddress<T>(
  addresses: readonly string[],
  ask: (address: string, signal: AbortSignal, timeoutMs: number) => Promise<T>,
  { clock, timeoutMs, isFinal }: FirstAddressOptions,
): Promise<{ readonly address: string; readonly answer: T }> {
  return new Promise((resolve, reject) => {
    const untilAt = clock.now() + timeoutMs
    const abort = new AbortController()
    const failures: unknown[] = []
    let next = 0
    let stagger: object | undefined
    const finish = (outcome: () => void): void => {
      clock.stopTimer(late)
      if (stagger !== undefined) clock.stopTimer(stagger)
      outcome()
      abort.abort()
    }
    const late = clock.startTimer(
      timeoutMs,
      () => {
        const message = `no answer from ${addresses.join(', ')} within ${Math.round(timeoutMs)} ms`
        finish(() => reject(new MeshError(message, { code: 'registry-unavailable', cause: failures[0] })))
      },
      undefined,
    )
    const askNext = (): void => {
      if (stagger !== undefined) clock.stopTimer(stagger)
      stagger = undefined
      if (abort.signal.aborted || next >= addresses.length) return
      const address = addresses[next]!
      next += 1
      if (next < addresses.length) stagger = clock.startTimer(STAGGER_MS, askNext, undefined)
      ask(address, abort.signal, Math.max(1, untilAt - clock.now())).then(
        (answer) => finish(() => resolve({ address, answer })),
        (error: unknown) => {
          if (abort.signal.aborted) return
          failures.push(error)
          if (isFinal(error) || failures.length === addresses.length) {
            finish(() => reject(isFinal(error) ? error : failures[0]))
          } else askNext()
        },
      )
    }
    askNext()
  })
}
