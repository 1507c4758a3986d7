/**
 * Parses and formats W3C Baggage (https://www.w3.org/TR/baggage/): values that travel with a call
 * to all its descendants.
 */

/**
 * The standard's limits. Members beyond them are dropped, because every hop would forward them.
 */
const MAX_BYTES = 8_192
const MAX_MEMBERS = 64
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}$/

/**
 * Drops each member that breaks the syntax or the limits, and the properties after `;`.
 */
export function parseBaggage(header: string | undefined): ReadonlyMap<string, string> | undefined {
  if (header === undefined || header === '' || header.length > MAX_BYTES) return undefined
  const members = new Map<string, string>()
  for (const member of header.split(',')) {
    if (members.size >= MAX_MEMBERS) break
    const [pair = ''] = member.split(';', 1)
    const equals = pair.indexOf('=')
    if (equals < 0) continue
    const name = pair.slice(0, equals).trim()
    if (!NAME.test(name)) continue
    try {
      members.set(name, decodeURIComponent(pair.slice(equals + 1).trim()))
    } catch {
      // A malformed percent-escape drops this member only.
    }
  }
  return members.size === 0 ? undefined : members
}

/** Baggage whose header goes out as it was written, with properties. */
export class WrittenBaggage extends Map<string, string> {
  readonly text: string

  constructor(text: string) {
    super(parseBaggage(text) ?? [])
    this.text = text
  }

  /** `text` with one more member, which replaces an older one. `undefined`: beyond the limits. */
  static with(text: string, name: string, value: string): WrittenBaggage | undefined {
    const kept = text.split(',').filter((member) => member.split('=', 1)[0]!.trim() !== name)
    const added = `${kept.join(',')},${name}=${encodeURIComponent(value)}`
    if (!NAME.test(name) || kept.length >= MAX_MEMBERS || added.length > MAX_BYTES) return undefined
    return new WrittenBaggage(added)
  }
}

/** Returns `undefined` if there is nothing to send. Members beyond the limits are left out. */
export function formatBaggage(members: ReadonlyMap<string, string> | undefined): string | undefined {
  if (members === undefined || members.size === 0) return undefined
  if (members instanceof WrittenBaggage) return members.text
  let header = ''
  let count = 0
  for (const [name, value] of members) {
    if (!NAME.test(name) || count >= MAX_MEMBERS) continue
    const member = `${name}=${encodeURIComponent(value)}`
    if (header.length + member.length + 1 > MAX_BYTES) continue
    header = header === '' ? member : `${header},${member}`
    count += 1
  }
  return header === '' ? undefined : header
}
