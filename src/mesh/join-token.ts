/** The join token of this process: a text, a file that is read anew, or the application's function, asked each time it joins. */
import { readFile } from 'node:fs/promises'
import { outsideCalls } from '../core/context.ts'
import { MeshError } from '../core/errors.ts'
import { parseToken, type Token } from '../identity/join-token.ts'
import type { MeshSettings } from './options.ts'

/** There may be a token a little later: its file is not there yet, or whoever gives it cannot be asked. */
export class TokenAwaited extends Error {
  override readonly name = 'TokenAwaited'
}

/**
 * The token now; `undefined`: none was given, as with a `--dev` registry.
 *
 * @throws MeshError `join-refused`, with a {@link TokenAwaited} as `cause` if it may help to ask again
 */
export async function joinTokenOf(
  settings: Pick<MeshSettings, 'service' | 'joinToken' | 'joinTokenFile'>,
): Promise<Token | undefined> {
  const { service, joinToken, joinTokenFile } = settings
  const refuse = (message: string, cause?: unknown): never => {
    throw new MeshError(message, { code: 'join-refused', service, cause })
  }
  let text: unknown = joinToken
  let from = 'the join token'
  if (joinTokenFile !== undefined) {
    from = `the join token in ${joinTokenFile}`
    text = await readFile(joinTokenFile, 'utf8').catch((error: Error) =>
      refuse(`${from} cannot be read: ${error.message}`, new TokenAwaited(error.message, { cause: error })),
    )
  } else if (typeof joinToken === 'function') {
    from = "the join token from the function 'joinToken'"
    try {
      text = await outsideCalls(joinToken)
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
