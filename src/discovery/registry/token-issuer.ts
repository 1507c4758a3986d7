/**
 * Requests tokens for this process, and the keys that verify the tokens of the mesh, from any of
 * the registry's addresses over mTLS.
 */
import type { Clock } from '../../core/clock.ts'
import { MeshError } from '../../core/errors.ts'
import type { RegistryAddresses } from './addresses.ts'
import { firstAddress } from './first-address.ts'
import { askRegistry, isPassing, type RegistryAnswer, type RegistryTls, refusalOf } from './request.ts'
import { labelOf } from './target.ts'
import type { JwtRequest, JwtResponse } from './wire.ts'

export interface TokenIssuerOptions {
  readonly addresses: RegistryAddresses
  /** Asked for each request, so that a rotated certificate is used at once. */
  readonly tls: () => RegistryTls
  readonly clock: Clock
}

/** Of the whole search. */
const TIMEOUT_MS = 5_000

/**
 * @throws MeshError `registry-unavailable`, `registry-refused` with the registry's reason, or
 * `identity-rejected`
 */
export async function requestToken(options: TokenIssuerOptions, request: JwtRequest): Promise<JwtResponse> {
  const { body } = await ask(options, '/v1/jwt', request)
  const { token, spiffeId, expiresAt, wallNow } = body
  if (
    typeof token !== 'string' ||
    typeof spiffeId !== 'string' ||
    !Number.isFinite(expiresAt) ||
    !Number.isFinite(wallNow)
  ) {
    throw new MeshError('the registry sent no token', { code: 'registry-unavailable' })
  }
  const { audience } = request
  return { token, spiffeId, audience, expiresAt: expiresAt as number, wallNow: wallNow as number }
}

/**
 * The JSON Web Key Set as received; the caller validates it. @throws MeshError as
 * {@link requestToken}
 */
export async function requestKeys(options: TokenIssuerOptions): Promise<unknown> {
  return (await ask(options, '/v1/jwks', undefined)).body
}

async function ask(options: TokenIssuerOptions, path: string, body: object | undefined): Promise<RegistryAnswer> {
  const { addresses, clock, tls } = options
  // A registry that says no would say it again elsewhere: they share their state.
  const isFinal = (error: unknown): boolean => !(error instanceof MeshError) || error.code === 'registry-refused'
  const { target, answer } = await firstAddress(
    await addresses.targets(),
    async (at, signal, timeoutMs) => {
      const said = await askRegistry(at, tls(), path, body, clock, timeoutMs, signal)
      if (said.status === 200) return said
      const code = isPassing(said) ? 'registry-unavailable' : 'registry-refused'
      throw new MeshError(`the registry refused ${path}${refusalOf(said)}`, { code, endpoint: labelOf(at) })
    },
    { clock, timeoutMs: TIMEOUT_MS, isFinal },
  )
  addresses.answered(target)
  return answer
}
