/** Servers and agents of inmesh itself, which `inmesh/auto` does not take for the application's. */
const own = new WeakSet<object>()

export function markOwn<S extends object>(part: S): S {
  own.add(part)
  return part
}

export function isOwn(part: object): boolean {
  return own.has(part)
}
