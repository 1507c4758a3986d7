/** JSON from outside, without the keys that reach into prototypes. */

const UNSAFE = new Set(['__proto__', 'constructor', 'prototype'])
/** Without any of these in the text there is no such key, also not in disguise. */
const SUSPICIOUS = /__proto__|constructor|prototype|\\u/
/** Cannot be nested deeper than any stack. */
const SHORT = 4_096

/**
 * Throws a `SyntaxError` for what is no JSON, and for JSON with one of those keys anywhere.
 * `isFlat`: its reader refuses what is nested deeply, so a long text is as harmless as a short one.
 */
export function parseSafeJson(text: string, isFlat = false): unknown {
  // A reviver makes parsing five times as dear, and nearly all texts are short and harmless.
  if ((isFlat || text.length <= SHORT) && !SUSPICIOUS.test(text)) return JSON.parse(text)
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
