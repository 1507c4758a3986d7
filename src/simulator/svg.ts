/** Elements of SVG as text. Everything that is not a tag is escaped. */

/** Markup that needs no more escaping. */
export interface Markup {
  readonly markup: string
}

type Attributes = Readonly<Record<string, string | number>>

export function element(name: string, attributes: Attributes, ...children: readonly (Markup | string)[]): Markup {
  const written = Object.entries(attributes).map(([key, value]) => ` ${key}="${escaped(shown(value))}"`)
  const inside = children.map((child) => (typeof child === 'string' ? escaped(child) : child.markup)).join('')
  return { markup: `<${name}${written.join('')}${inside === '' ? '/>' : `>${inside}</${name}>`}\n` }
}

function shown(value: string | number): string {
  return typeof value === 'number' ? String(Math.round(value * 100) / 100) : value
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

/** Characters that XML 1.0 forbids become `?`. */
function escaped(text: string): string {
  return text
    .toWellFormed()
    .replace(/[&<>"]/g, (character) => ENTITIES[character]!)
    .replace(/[^\t\n\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '?')
}
