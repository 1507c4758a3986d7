/**
 * The first admin token. Made once; the caller gets its text, a file that only the owner reads
 * keeps it, and the store keeps its hash.
 */
import { formatToken, issueToken, parseToken, sameHash, tokenHash } from '../../identity/join-token.ts'
import type { Logger } from '../log.ts'
import { KEYS } from '../records.ts'
import type { RegistryState } from '../state.ts'
import { isAdminTokenEmpty, readAdminToken, removeAdminToken, writeAdminToken } from '../storage/data-directory.ts'
import type { Audit } from './audit.ts'
import { REVOKED } from './operators.ts'
import type { Pins } from './pins.ts'

/** Returns the text of a token that this start made. */
export async function ensureAdminToken(
  state: RegistryState,
  audit: Audit,
  pins: Pins,
  dataDir: string | undefined,
): Promise<string | undefined> {
  const { fingerprint } = pins
  if (state.adminHash === undefined) return await makeAdminToken(state, fingerprint, dataDir)
  if (dataDir === undefined || !isAdminTokenEmpty(dataDir)) return undefined
  if (state.adminHash !== REVOKED) return await replaceAdminToken(state, audit, fingerprint, dataDir)
  removeAdminToken(dataDir)
  return undefined
}

async function makeAdminToken(
  state: RegistryState,
  fingerprint: string,
  dataDir: string | undefined,
): Promise<string | undefined> {
  const { text, hash } = issueToken('admin', fingerprint)
  // The file first: if this process dies in between, the next start makes another token and
  // overwrites it.
  if (dataDir !== undefined) writeAdminToken(dataDir, `${text}\n`)
  const { ok } = await state.write(
    [{ key: KEYS.admin, value: JSON.stringify(hash) }],
    [{ key: KEYS.admin, revision: 0 }],
  )
  if (ok) return text
  // Another registry on the same store was first; its token counts.
  if (dataDir !== undefined) removeAdminToken(dataDir)
  return undefined
}

/** Revokes the first admin token and puts another one into the file. */
async function replaceAdminToken(
  state: RegistryState,
  audit: Audit,
  fingerprint: string,
  dataDir: string,
): Promise<string> {
  const { text, hash } = issueToken('admin', fingerprint)
  // The store first: if this process dies in between, the file is still empty and the next start
  // makes another token.
  await state.write([
    { key: KEYS.admin, value: JSON.stringify(hash) },
    ...audit.operations({ who: 'registry', source: 'local', action: 'admin-token-replace', outcome: 'done' }),
  ])
  writeAdminToken(dataDir, `${text}\n`)
  return text
}

/**
 * Lets the token in the file pin the root in use, so that commands go on when the former root is
 * withdrawn. A file that cannot be written is logged, because the token is valid still.
 */
export function repinAdminToken(
  state: RegistryState,
  { fingerprint }: Pins,
  dataDir: string | undefined,
  log: Logger,
): void {
  if (dataDir === undefined) return
  try {
    const token = parseToken(readAdminToken(dataDir) ?? '')
    if (token?.kind !== 'admin' || token.fingerprint === fingerprint) return
    if (!sameHash(tokenHash(token.secret), state.adminHash ?? REVOKED)) return
    writeAdminToken(dataDir, `${formatToken({ ...token, fingerprint })}\n`)
    log.info({ root: fingerprint }, 'the admin token in the data directory pins the root in use')
  } catch (error) {
    log.warn({ dataDir, reason: (error as Error).message }, 'the file of the admin token is not rewritten')
  }
}

/** The first admin token is `text` now, or none: so is the file, if this registry has one. */
export function followAdminToken(dataDir: string | undefined, text: string | undefined, log: Logger): void {
  if (dataDir === undefined) return
  try {
    if (text === undefined) removeAdminToken(dataDir)
    else if (readAdminToken(dataDir) !== undefined) writeAdminToken(dataDir, `${text}\n`)
  } catch (error) {
    // The former token is worthless all the same.
    log.warn({ dataDir, reason: (error as Error).message }, 'the file of the former admin token is not changed')
  }
}
