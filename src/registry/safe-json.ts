/** JSON from outside, without the keys that reach into prototypes (faults-and-attacks A31). */

const UNSAFE = new Set(['__proto__', 'constructor', 'prototype'])

/** Throws a `SyntaxError` for what is no JSON, and for JSON with one of those keys anywhere. */
export function parseSafeJson(text: string): unknown {
  try {
    return JSON.parse(text, (key, value: unknown) => {
      if (UNSAFE.has(key)) throw new SyntaxError(`the key '${key}' is not allowed`)
      return value
    })
  } catch (error) {
    // A RangeError: nested deeper than the stack.
    throw error instanceof SyntaxError ? error : new SyntaxError('nested too deeply')
  }
}
