/** With what this workload joins: a certificate on disk, a join token, or nothing. */
import { cp, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../core/clock.ts'
import { reasonOf } from '../../core/errors.ts'
import type { Identity } from '../../identity/identity.ts'
import { parseToken, rootFingerprint, tokenHash } from '../../identity/join-token.ts'
import { KeyStore } from '../../identity/key-store.ts'
import { JoinTokens } from '../../mesh/join-token.ts'
import type { MeshSettings } from '../../mesh/options.ts'
import { ago, instant } from '../times.ts'
import type { Finding } from './finding.ts'

export interface FoundIdentity {
  readonly findings: readonly Finding[]
  /** Valid, from the state directory. */
  readonly stored: Identity | undefined
  readonly hasToken: boolean
  /** Fingerprint of the root that the workload trusts. */
  readonly pin: string | undefined
}

export async function findIdentity(settings: MeshSettings): Promise<FoundIdentity> {
  const kept = await storedIdentity(settings)
  const token = await tokenFinding(settings)
  const { stored } = kept
  const [root] = stored?.roots ?? []
  const pin = token.fingerprint ?? (root === undefined ? undefined : rootFingerprint(root))
  return { findings: [kept.finding, token.finding], stored, hasToken: token.fingerprint !== undefined, pin }
}

async function storedIdentity({
  service,
  stateDir,
}: MeshSettings): Promise<{ finding: Finding; stored: Identity | undefined }> {
  const check = 'certificate'
  const none = (message: string): { finding: Finding; stored: undefined } => ({
    finding: { check, state: 'skipped', message },
    stored: undefined,
  })
  if (stateDir === 'memory') return none('kept in memory of its process')
  if ((await stat(stateDir).catch(() => undefined)) === undefined) return none(`none yet: ${stateDir} is not there`)
  try {
    const store = await KeyStore.open({ directory: stateDir, clock: systemClock })
    const stored = await store.loadIdentity(service)
    if (stored !== undefined) {
      const message = `${stored.spiffeId}, until ${instant(stored.notAfter)}`
      return { finding: { check, state: 'ok', message }, stored }
    }
    if (store.ignored === 0) return none(`none of '${service}' in ${stateDir}`)
    const todo = 'start the workload with a join token; it then renews its certificate by itself'
    return {
      finding: { check, state: 'warning', message: `that in ${stateDir} has expired or is damaged`, todo },
      stored: undefined,
    }
  } catch (error) {
    const todo = 'let only the user of the workload read it, or set INMESH_STATE_DIR to another directory or `memory`'
    return { finding: { check, state: 'failed', message: reasonOf(error), todo }, stored: undefined }
  }
}

/** The token is read, and not spent. */
async function tokenFinding(settings: MeshSettings): Promise<{ finding: Finding; fingerprint: string | undefined }> {
  const check = 'join token'
  try {
    const token = await new JoinTokens(settings).ask(1_000)
    if (token === undefined) {
      return { finding: { check, state: 'skipped', message: 'none is given' }, fingerprint: undefined }
    }
    const message = 'is well-formed, and pins a root; whether it is still good is known when it is used'
    return { finding: { check, state: 'ok', message }, fingerprint: token.fingerprint }
  } catch (error) {
    const todo = `make one: \`inmesh token create --service ${settings.service}\`, as INMESH_JOIN_TOKEN`
    return { finding: { check, state: 'failed', message: reasonOf(error), todo }, fingerprint: undefined }
  }
}

interface ListedToken {
  /** The beginning of its hash. */
  readonly id: string
  readonly service: string
  readonly usesLeft: number
  readonly expiresAt: number
}

/** What an operator's list says of a token: used up, expired, or of another service. */
export function knownToken(text: string, listed: readonly ListedToken[], service: string): Finding | undefined {
  const check = 'join token'
  const todo = `make another: \`inmesh token create --service ${service}\``
  const token = parseToken(text)
  if (token === undefined) return undefined
  const hash = tokenHash(token.secret)
  const found = listed.find(({ id }) => hash.startsWith(id))
  if (found === undefined) return { check, state: 'failed', message: 'the registry does not know it (any more)', todo }
  if (found.service !== service)
    return { check, state: 'failed', message: `is for '${found.service}', not '${service}'`, todo }
  if (found.expiresAt <= Date.now()) return { check, state: 'failed', message: `expired ${ago(found.expiresAt)}`, todo }
  if (found.usesLeft <= 0) return { check, state: 'failed', message: 'is used up', todo }
  return { check, state: 'ok', message: `good for ${found.usesLeft} more, until ${instant(found.expiresAt)}` }
}

/** A private copy, so that the doctor and the workload never write the same files. */
export async function copyOfState(stateDir: string): Promise<{ readonly path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'inmesh-doctor-'))
  await cp(stateDir, path, { recursive: true })
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}
