/** What `--json` prints of a call: the answer or the error, its timing and its attempts. */
import { performance } from 'node:perf_hooks'
import { EXIT, Failure } from '../failure.ts'
import { type Calling, LARGEST_BODY } from './call-flags.ts'

export class CallResult {
  readonly #calling: Calling
  readonly #request: object
  readonly #startedAt = performance.now()
  #headMs: number | undefined

  /** `request`: what was asked, the first fields of the result. */
  constructor(calling: Calling, request: object) {
    this.#calling = calling
    this.#request = request
  }

  /** The head of the answer has arrived. */
  hasHead(): void {
    this.#headMs = this.#tookMs
  }

  succeeded(answer: object): void {
    const { terminal } = this.#calling.developer
    if (terminal.json) terminal.result({ ...this.#request, ...answer, ...this.#seen }, () => [])
  }

  /** Returns `error`, which is printed to stderr. */
  failed(error: unknown): unknown {
    if (!(error instanceof Failure) || error.exitCode === EXIT.invalid) return error
    const { code, message } = error
    this.succeeded({ error: { code, message } })
    return error
  }

  tooLarge(): Failure {
    const most = `${LARGEST_BODY / 1024 / 1024} MiB`
    return new Failure(EXIT.failed, 'response-too-large', `the answer has more than ${most}; leave out --json`)
  }

  get #tookMs(): number {
    return Math.round((performance.now() - this.#startedAt) * 1_000) / 1_000
  }

  get #seen(): object {
    const { developer, seen } = this.#calling
    const { attempts, call } = seen
    const headMs = this.#headMs
    return {
      timing: { joinMs: Math.round(developer.joinMs), ...(headMs !== undefined && { headMs }), totalMs: this.#tookMs },
      ...(call?.route !== undefined && { route: call.route }),
      ...(call?.trace !== undefined && { trace: call.trace }),
      ...(call !== undefined && { verdict: call.verdict }),
      ...(call?.code !== undefined && { code: call.code }),
      attempts,
    }
  }
}
