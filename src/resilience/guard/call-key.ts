/**
 * The default key of collapse and cache: equal only for arguments that no function can tell apart.
 * Arguments that cannot be compared by value have no key, so no caller gets the result of another.
 */
import { types } from 'node:util'

/**
 * Values in all. Comparing more costs more than most calls that it could save, and a graph could be
 * unfolded for ever.
 */
const MOST_VALUES = 10_000

/**
 * The key of a call, by its `this` if that is a primitive, and its arguments. `undefined`: like no
 * other, because something in it has no contents to compare (a class's instance, a Map, a function,
 * a getter, a circle) or because there is too much.
 */
export function callKey(self: unknown, args: readonly unknown[]): string | undefined {
  const writer = new KeyWriter()
  try {
    if (self !== undefined && isPrimitive(self) && !writer.item(self)) return undefined
    writer.text += '('
    // The list itself is ours: only what is in it has to be looked at.
    for (const arg of args) if (!writer.item(arg)) return undefined
    return writer.text
  } catch {
    // A symbol's description or a trap of the user's that throws.
    return undefined
  }
}

function isPrimitive(value: unknown): boolean {
  return (typeof value !== 'object' && typeof value !== 'function') || value === null
}

class KeyWriter {
  text = ''
  #values = 0
  /** What encloses the value being written. */
  #within: Set<object> | undefined = undefined

  /** One of several. `false`: it has no key. */
  item(value: unknown): boolean {
    if (typeof value === 'string') {
      this.text += `${JSON.stringify(value)},`
      return true
    }
    return this.write(value) && this.#add(',')
  }

  /** `false`: it has no key. */
  write(value: unknown): boolean {
    this.#values += 1
    if (this.#values > MOST_VALUES) return false
    switch (typeof value) {
      case 'string':
        this.text += JSON.stringify(value)
        return true
      case 'number':
        this.text += Object.is(value, -0) ? '-0' : String(value)
        return true
      case 'bigint':
        this.text += `${value}n`
        return true
      case 'boolean':
      case 'undefined':
        this.text += String(value)
        return true
      case 'object':
        return value === null ? this.#add('null') : this.#object(value)
      default:
        return false
    }
  }

  #add(text: string): boolean {
    this.text += text
    return true
  }

  #object(value: object): boolean {
    this.#within ??= new Set()
    if (types.isProxy(value) || this.#within.has(value)) return false
    const prototype: unknown = Object.getPrototypeOf(value)
    if (types.isDate(value)) return this.#date(value, prototype)
    this.#within.add(value)
    const written =
      Array.isArray(value) && prototype === Array.prototype
        ? this.#list(value)
        : (prototype === Object.prototype || prototype === null) && this.#record(value, prototype)
    this.#within.delete(value)
    return written
  }

  #date(value: Date, prototype: unknown): boolean {
    if (prototype !== Date.prototype || Reflect.ownKeys(value).length > 0) return false
    return this.#add(`date(${Date.prototype.getTime.call(value)})`)
  }

  #list(list: readonly unknown[]): boolean {
    // Besides its length it may have its items only; holes differ from `undefined`.
    let items = 0
    this.text += '['
    for (let i = 0; i < list.length; i++) {
      if (i > 0) this.text += ','
      const item = Object.getOwnPropertyDescriptor(list, i)
      if (item === undefined) {
        this.#values += 1
        if (this.#values > MOST_VALUES) return false
        continue
      }
      items += 1
      if (!this.#property(item)) return false
    }
    this.text += ']'
    return Reflect.ownKeys(list).length === items + 1
  }

  #record(record: object, prototype: unknown): boolean {
    // What only looks plain keeps something inside: boxed values, `arguments`, a module.
    if (Object.prototype.toString.call(record) !== '[object Object]') return false
    this.text += prototype === null ? 'null{' : '{'
    for (const key of Reflect.ownKeys(record)) {
      if (typeof key === 'symbol') return false
      this.text += `${JSON.stringify(key)}:`
      if (!this.#property(Object.getOwnPropertyDescriptor(record, key)!)) return false
      this.text += ','
    }
    this.text += '}'
    return true
  }

  /** Getters are not asked: what they say may be another thing the next time. */
  #property(property: PropertyDescriptor): boolean {
    return property.enumerable === true && 'value' in property && this.write(property.value)
  }
}
