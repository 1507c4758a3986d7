/** The options in an object that comes from JavaScript. */
import { OptionsError, show } from '../options/fields.ts'

/** Spreading anything but an object would drop it in silence. @throws OptionsError */
export function assertObject(options: unknown, what: string): void {
  if (typeof options === 'object' && options !== null && !Array.isArray(options)) return
  throw new OptionsError(what, [{ path: [], message: `expected an object of options, got ${show(options)}` }])
}

/** Those that are not `undefined`, including inherited ones and getters of a class. */
export function optionsGiven(options: object, shape: object = {}): Record<string, unknown> {
  const given: Record<string, unknown> = {}
  const take = (key: string): void => {
    const value = (options as Record<string, unknown>)[key]
    if (value !== undefined) given[key] = value
  }
  for (const key in options) take(key)
  for (const key in shape) take(key)
  return given
}
