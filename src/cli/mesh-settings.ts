/** Settings of a mesh that a command joins. Errors name variables, and not code of a service. */
import type { MeshOptions, MeshSettings } from '../mesh/options.ts'
import { resolveMeshOptions } from '../mesh/resolve-options.ts'
import { describeIssue, OptionsError } from '../options/fields.ts'
import { EXIT, Failure } from './failure.ts'
import type { CliContext } from './terminal.ts'

/** @throws Failure with each wrong variable or flag */
export function meshSettings(options: MeshOptions, env: CliContext['env']): MeshSettings {
  try {
    return resolveMeshOptions(options, env as NodeJS.ProcessEnv)
  } catch (error) {
    if (!(error instanceof OptionsError)) throw error
    throw new Failure(EXIT.invalid, error.code, error.issues.map(describeIssue).join('; '))
  }
}
