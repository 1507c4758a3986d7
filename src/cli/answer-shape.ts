/**
 * Checks of answers of a registry before a command shows them, because another program may listen
 * there. Fields that no check names are not looked at.
 */

/** The path of the first value that is invalid. */
export type Check = (value: unknown, path: string) => string | undefined

const valueThat =
  (accepts: (value: unknown) => boolean): Check =>
  (value, path) =>
    accepts(value) ? undefined : path

/** Absent: the registry is of another version. */
export const optional =
  (check: Check): Check =>
  (value, path) =>
    value === null || value === undefined ? undefined : check(value, path)

export const text = valueThat((value) => typeof value === 'string')
export const flag = valueThat((value) => typeof value === 'boolean')
/** Wall clock in ms, which a date can show. */
export const instant = valueThat((value) => typeof value === 'number' && Math.abs(value) <= 8.64e15)
export const number = valueThat((value) => typeof value === 'number')
export function listOf(check: Check): Check {
  return (value, path) => (Array.isArray(value) ? firstOf(value.entries(), () => check, path) : path)
}

/** An object of any names, whose values are of one kind. */
function recordOf(check: Check): Check {
  return (value, path) => (isObject(value) ? firstOf(Object.entries(value), () => check, path) : path)
}

export const numbers = recordOf(number)
export const texts = recordOf(text)

export function shape(checks: Readonly<Record<string, Check>>): Check {
  return (value, path) => {
    if (!isObject(value)) return path
    const given = Object.keys(checks).map((name) => [name, value[name]] as const)
    return firstOf(given, (name) => checks[name]!, path)
  }
}

function firstOf<K extends string | number>(
  entries: Iterable<readonly [K, unknown]>,
  checkOf: (name: K) => Check,
  path: string,
): string | undefined {
  for (const [name, value] of entries) {
    const found = checkOf(name)(value, path === '' ? String(name) : `${path}.${name}`)
    if (found !== undefined) return found
  }
  return undefined
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
