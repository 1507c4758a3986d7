/** Finds the class and the name that a guarded method belongs to when it is called. */

type Class = (abstract new (...args: never[]) => unknown) & { readonly name: string }

/** Keeps the policies of methods that are called without an object. */
export const NO_CLASS = Object.freeze({})

export function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}

export function isClass(work: object): boolean {
  return typeof work === 'function' && /^class\b/.test(Function.prototype.toString.call(work))
}

/** One whose result is a sequence, not a promise. */
export function isGenerator(work: object): boolean {
  return /GeneratorFunction\]$/.test(Object.prototype.toString.call(work))
}

/**
 * The class of an object by its prototypes, because its own field may be named `constructor`. For a
 * class, the class itself.
 */
export function classOf(self: unknown): Class | undefined {
  if (typeof self === 'function') return self as unknown as Class
  if (!isObject(self)) return undefined
  for (let at = prototypeOf(self); at !== null; at = prototypeOf(at)) {
    const own: unknown = Object.getOwnPropertyDescriptor(at, 'constructor')?.value
    if (typeof own === 'function') return own as Class
  }
  return undefined
}

/**
 * `Prices.quote`, for static methods too. A method that is called by the one that overrides it has
 * a breaker beside that one's, so it says where it was written: `Prices.quote (of BasePrices)`.
 */
export function nameOf(self: unknown, key: string | symbol, method: unknown): string {
  const owner = classOf(self)
  // A static member may be named `name`.
  if (owner === undefined || typeof owner.name !== 'string' || owner.name === '') return String(key)
  const writer = writerOf(owner, self, key, method)
  return `${owner.name}.${String(key)}${writer === undefined ? '' : ` (of ${writer})`}`
}

/**
 * The class that wrote `method`, if another method of the object answers to `key`; `undefined` also
 * for private ones.
 */
function writerOf(owner: Class, self: unknown, key: string | symbol, method: unknown): string | undefined {
  let hidden = false
  for (
    let at: object | null = typeof self === 'function' ? self : (owner.prototype as object | null);
    at !== null;
    at = prototypeOf(at)
  ) {
    const own = Object.getOwnPropertyDescriptor(at, key)
    if (own === undefined) continue
    if (own.value === method)
      return hidden ? (typeof self === 'function' ? (at as Class) : classAt(at))?.name : undefined
    hidden = true
  }
  return undefined
}

function classAt(prototype: object): Class | undefined {
  return Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value as Class | undefined
}

function prototypeOf(value: object): object | null {
  return Object.getPrototypeOf(value) as object | null
}
