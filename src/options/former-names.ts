/**
 * Former names of public options. Each is honoured for one minor version, with one
 * `DeprecationWarning` a process that names the new one.
 */
import { OptionsError } from './fields.ts'

/** Code of the warning. */
export const FORMER_NAME = 'INMESH_FORMER_NAME'

const warned = new Set<string>()

/** Warns the first time that `former` is used in this process. */
export function warnOfFormerName(what: string, former: string, current: string): void {
  if (warned.has(former)) return
  warned.add(former)
  const message = `${what}: '${former}' is now called '${current}'; the next minor version drops the former name`
  process.emitWarning(message, { type: 'DeprecationWarning', code: FORMER_NAME })
}

/**
 * `options` under their present names; the same object if none has a former one. `names` maps each
 * former name to the present one. What is no object is left to the check of the options.
 *
 * @throws OptionsError if an option is given by both names
 */
export function renameFormer<T>(options: T, names: Readonly<Record<string, string>>, what: string): T {
  if (typeof options !== 'object' || options === null) return options
  const used = Object.keys(names).filter((former) => former in options)
  if (used.length === 0) return options
  const renamed = { ...options } as Record<string, unknown>
  const issues = used.flatMap((former) => {
    const current = names[former]!
    const value = (options as Record<string, unknown>)[former]
    delete renamed[former]
    if (value === undefined) return []
    if ((options as Record<string, unknown>)[current] !== undefined) return [givenTwice(former, current)]
    warnOfFormerName(what, former, current)
    renamed[current] = value
    return []
  })
  if (issues.length > 0) throw new OptionsError(what, issues)
  return renamed as T
}

/** The mistake of giving an option, or a variable, by both of its names. */
export function givenTwice(former: string, current: string): { path: string[]; message: string } {
  return { path: [former], message: `is the former name of '${current}', and both are given; remove this one` }
}
