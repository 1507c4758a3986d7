/**
 * The first admin token. Made once; the caller gets its text, a file that only the owner reads
 * keeps it, and the store keeps its hash.
 */
import { issueToken } from '../../identity/join-token.ts'
import { KEYS } from '../records.ts'
import type { RegistryState } from '../state.ts'
import { isAdminTokenEmpty, removeAdminToken, writeAdminToken } from '../storage/data-directory.ts'
import type { Audit } from './audit.ts'
import { REVOKED } from './operators.ts'

/** Returns the text of a token that this start made. */
export async function ensureAdminToken(
  state: RegistryState,
  audit: Audit,
  fingerprint: string,
  dataDir: string | undefined,
): Promise<string | undefined> {
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
