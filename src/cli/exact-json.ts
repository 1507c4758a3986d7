/** JSON whose numbers stay as they are written, so that a long id is shown with all its digits. */

/** ECMAScript's JSON.parse source text access, which TypeScript does not type yet. */
type Reviver = (key: string, value: unknown, context: { readonly source?: string }) => unknown
const { parse, rawJSON } = JSON as unknown as {
  parse(text: string, reviver: Reviver): unknown
  rawJSON?(source: string): unknown
}

/** For `JSON.stringify`. `undefined`: it is no JSON. */
export function parseExactly(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: parse(text, exact) }
  } catch {
    return undefined
  }
}

const exact: Reviver = (_key, value, { source }) =>
  typeof value === 'number' && source !== undefined && rawJSON !== undefined && String(value) !== source
    ? rawJSON(source)
    : value
