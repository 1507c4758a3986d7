/** Refuses Nest's options that have no effect in the mesh, with what takes their place. */
import { OptionsError } from '../../../options/fields.ts'

/** @throws OptionsError naming each */
export function assertWithoutEffect(what: string, given: object, hints: Readonly<Record<string, string>>): void {
  const issues = Object.entries(hints)
    .filter(([option]) => (given as Record<string, unknown>)[option] !== undefined)
    .map(([option, hint]) => ({ path: [option], message: `would have no effect: ${hint}` }))
  if (issues.length > 0) throw new OptionsError(what, issues)
}
