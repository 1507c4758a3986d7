/**
 * The default data directory of a registry, where commands on the same machine find its admin
 * token.
 */
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { CliContext } from './terminal.ts'

export const ADMIN_TOKEN_FILE = 'admin-token'

/**
 * Development has a separate directory: data that anyone could write must never enter a real mesh.
 */
export function defaultDataDirectory(env: CliContext['env'], dev: boolean): string {
  const state = env.XDG_STATE_HOME || join(env.HOME || homedir(), '.local', 'state')
  return join(state, dev ? 'inmesh-registry-dev' : 'inmesh-registry')
}
