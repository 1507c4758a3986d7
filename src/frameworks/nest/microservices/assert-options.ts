/** Refuses mistyped options, which Nest ignores, and those of Nest without effect in the mesh. */
import { type Issue, OptionsError, unknownKey } from '../../../options/fields.ts'

/** The names of all options of `T`. */
export type Names<T> = Readonly<Record<keyof T, true>>

/**
 * @param withoutEffect - options of Nest, each with what takes its place
 * @param issues - further mistakes
 * @throws OptionsError naming each
 */
export function assertOptions(
  what: string,
  given: object,
  names: Readonly<Record<string, true>>,
  withoutEffect: Readonly<Record<string, string>>,
  issues: readonly Issue[],
): void {
  const all = [...issues]
  for (const [option, value] of Object.entries(given)) {
    if (Object.hasOwn(names, option) || value === undefined) continue
    const message = Object.hasOwn(withoutEffect, option)
      ? `would have no effect: ${withoutEffect[option]}`
      : unknownKey(option, Object.keys(names))
    all.push({ path: [option], message })
  }
  if (all.length > 0) throw new OptionsError(what, all)
}
