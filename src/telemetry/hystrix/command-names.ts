/**
 * Names on the stream. The dashboard writes them into HTML and into selectors, and it and Turbine
 * take commands of one name for one.
 */

/** What the dashboard escapes neither in HTML nor in the selectors of thread pools. */
const ODD = /[^\p{L}\p{N}_.:-]/gu
const OF_FUNCTION = '.function'

export function commandName(name: string): string {
  return name.replace(ODD, '_')
}

/** The names of functions by their own, apart from those of `services` and from each other. */
export function functionNames(functions: Iterable<string>, services: Iterable<string>): ReadonlyMap<string, string> {
  const taken = new Set<string>()
  for (const service of services) taken.add(commandName(service))
  const names = new Map<string, string>()
  for (const own of functions) {
    let name = commandName(own)
    while (taken.has(name)) name += OF_FUNCTION
    taken.add(name)
    names.set(own, name)
  }
  return names
}
