/**
 * The join token of this process: a text, a file that is read each time, or a function of the
 * application.
 */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { outsideCalls } from '../core/context.ts'
import { MeshError } from '../core/errors.ts'
import type { JoinTokenSource } from '../discovery/registry/issuer.ts'
import { parseToken, type Token } from '../identity/join-token.ts'
import type { MeshSettings } from './options.ts'

/** A later attempt may get a token: its file does not exist yet, or the function failed. */
export class TokenAwaited extends Error {
  override readonly name = 'TokenAwaited'
}

/** A token has about 90 bytes; a file of more holds something else. */
const LONGEST_FILE = 4_096
/** Timeout of one call of the function; a join with more time calls it again. */
const LONGEST_ASK_MS = 10_000
/** How long an unused token of the function is kept; it may be short-lived. */
const KEPT_MS = 60_000
const WRITABLE_BY_ALL = 0o002

type TokenSettings = Pick<MeshSettings, 'service' | 'joinToken' | 'joinTokenFile' | 'clock'>

/** Gets one token for each join. The function's token is kept until a registry has received it. */
export class JoinTokens implements JoinTokenSource {
  readonly #settings: TokenSettings
  #kept: { readonly token: Token; readonly at: number } | undefined

  constructor(settings: TokenSettings) {
    this.#settings = settings
  }

  /** Whether asking may cost the application something. */
  get costly(): boolean {
    return this.#settings.joinTokenFile === undefined && typeof this.#settings.joinToken === 'function'
  }

  /**
   * The token now; `undefined`: none was given, as with a `--dev` registry.
   *
   * @throws MeshError `join-refused`, with a {@link TokenAwaited} as `cause` if it may help to ask
   * again
   */
  async ask(timeoutMs: number): Promise<Token | undefined> {
    const { clock } = this.#settings
    if (this.#kept !== undefined && clock.now() - this.#kept.at < KEPT_MS) return this.#kept.token
    const token = await this.#ask(Math.min(timeoutMs, LONGEST_ASK_MS))
    if (this.costly && token !== undefined) this.#kept = { token, at: clock.now() }
    return token
  }

  spent(): void {
    this.#kept = undefined
  }

  async #ask(timeoutMs: number): Promise<Token | undefined> {
    const { service, joinToken, joinTokenFile } = this.#settings
    const refuse = (message: string, cause?: unknown): never => {
      throw new MeshError(message, { code: 'join-refused', service, cause })
    }
    let text: unknown = joinToken
    let from = 'the join token'
    if (joinTokenFile !== undefined) {
      from = `the join token in ${joinTokenFile}`
      text = await readTokenFile(joinTokenFile).catch((error: Error) =>
        refuse(`${from} cannot be read: ${error.message}`, new TokenAwaited(error.message, { cause: error })),
      )
    } else if (typeof joinToken === 'function') {
      from = "the join token from the function 'joinToken'"
      try {
        text = await this.#within(timeoutMs, () => outsideCalls(joinToken))
      } catch (error) {
        const reason = error instanceof Error ? error.message : 'it threw'
        refuse(`${from} cannot be had: ${reason}`, new TokenAwaited(reason, { cause: error }))
      }
    }
    if (text === undefined) return undefined
    const token = typeof text === 'string' ? parseToken(text) : undefined
    if (token?.kind === 'join') return token
    // A file that is being written may be empty for a moment.
    const cause = joinTokenFile === undefined ? undefined : new TokenAwaited('no token')
    return refuse(`${from} is no join token; make one by 'inmesh token create --service ${service}'`, cause)
  }

  /** A token that comes later is not used. */
  #within(ms: number, give: () => unknown): Promise<unknown> {
    const { clock } = this.#settings
    return new Promise((resolve, reject) => {
      const late = (): void => reject(new Error(`it gave none within ${Math.round(ms)} ms`))
      const timer = clock.startTimer(ms, late, undefined)
      // A function that throws at once rejects as well.
      const given = new Promise((settle) => settle(give()))
      given.then(resolve, reject).finally(() => clock.stopTimer(timer))
    })
  }
}

/** Links are followed, because Kubernetes replaces a mounted secret by one. */
async function readTokenFile(path: string): Promise<string> {
  // A pipe without a writer would hold a thread for ever.
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  try {
    const found = await file.stat()
    if (!found.isFile()) throw new Error('it is not a regular file')
    if (process.platform !== 'win32' && (found.mode & WRITABLE_BY_ALL) !== 0) {
      throw new Error(`every user of this machine may write it, and name another registry; run 'chmod o-w ${path}'`)
    }
    const { buffer, bytesRead } = await file.read(Buffer.alloc(LONGEST_FILE + 1), 0, LONGEST_FILE + 1, 0)
    if (bytesRead > LONGEST_FILE) throw new Error(`it has more than ${LONGEST_FILE} bytes`)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}
