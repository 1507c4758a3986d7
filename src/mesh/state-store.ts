/** Opens the state directory, or memory where a process may write nothing. */
import { KeyStore, UnusableDirectory } from '../identity/key-store.ts'
import type { MeshSettings } from './options.ts'

/**
 * A default directory that cannot be used gives way to memory, with a warning: containers often run
 * without a home or on a read-only root.
 *
 * @throws OptionsError for a directory that was asked for, or that others can read
 */
export async function openStateStore({ stateDir, stateDirGiven, clock }: MeshSettings): Promise<KeyStore> {
  const directory = stateDir === 'memory' ? undefined : stateDir
  try {
    return await KeyStore.open({ directory, clock })
  } catch (error) {
    if (stateDirGiven || !(error instanceof UnusableDirectory)) throw error
    process.emitWarning(
      `key, certificate and last snapshot are kept in memory, so that a restart needs a join token and a registry: ${error.issues[0]!.message}`,
      { type: 'InmeshWarning', code: 'INMESH_STATE_IN_MEMORY' },
    )
    return await KeyStore.open({ directory: undefined, clock })
  }
}
