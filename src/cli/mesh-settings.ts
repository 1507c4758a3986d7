/** Settings of a mesh that a command joins. Errors name variables, and not code of a service. */
import type { MeshOptions, MeshSettings } from '../mesh/options.ts'
import { resolveMeshOptions } from '../mesh/resolve-options.ts'
import { describeIssue, OptionsError } from '../options/fields.ts'
import { EXIT, Failure } from './failure.ts'
import type { CliContext } from './terminal.ts'

interface CommandOptions extends MeshOptions {
  readonly registry: readonly string[]
}

/** @throws Failure with each wrong variable or flag */
export function meshSettings(options: CommandOptions, env: CliContext['env']): MeshSettings {
  const [only, ...more] = options.registry
  // An error shows a single address as it was given.
  const registry = more.length === 0 && only !== undefined ? only : options.registry
  try {
    return resolveMeshOptions({ ...options, registry }, env as NodeJS.ProcessEnv)
  } catch (error) {
    if (!(error instanceof OptionsError)) throw error
    throw new Failure(EXIT.invalid, error.code, error.issues.map(describeIssue).join('; '))
  }
}
