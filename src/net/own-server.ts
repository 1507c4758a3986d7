/** The listeners of inmesh itself, which `inmesh/auto` does not take for the application's. */
const own = new WeakSet<object>()

export function markOwn<S extends object>(server: S): S {
  own.add(server)
  return server
}

export function isOwn(server: object): boolean {
  return own.has(server)
}
