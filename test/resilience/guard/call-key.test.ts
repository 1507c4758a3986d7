import { describe, expect, it } from 'vitest'
import { callKey } from '../../../src/resilience/guard/call-key.ts'
import { guard } from '../../../src/resilience/guard/guard.ts'

class Tenant {
  readonly #id: string
  constructor(id: string) {
    this.#id = id
  }
  get id(): string {
    return this.#id
  }
}

function circle(n: number): object {
  const made: Record<string, unknown> = { n }
  made.self = made
  return made
}

const hole = (): unknown[] => {
  const list: unknown[] = [1, 2]
  delete list[0]
  return list
}

/** Everything here differs from everything else here, but for what `equal` says. */
const DIFFERENT: Record<string, unknown> = {
  undefined: undefined,
  null: null,
  'the text null': 'null',
  'the text undefined': 'undefined',
  zero: 0,
  'minus zero': -0,
  NaN: Number.NaN,
  'the text NaN': 'NaN',
  Infinity: Number.POSITIVE_INFINITY,
  '-Infinity': Number.NEGATIVE_INFINITY,
  one: 1,
  'a BigInt': 1n,
  'its text': '1n',
  true: true,
  'the text true': 'true',
  'an empty list': [],
  'an empty object': {},
  'an object without a prototype': Object.create(null),
  'a list of undefined': [undefined],
  'a list of null': [null],
  'a hole': hole(),
  'undefined instead of a hole': [undefined, 2],
  'a list within': [[1], 2],
  'a list beside': [1, [2]],
  'a key of undefined': { a: undefined },
  'a key': { a: 1 },
  'two keys': { a: 1, b: 2 },
  'two keys in another order': { b: 2, a: 1 },
  'a key as text': '{"a":1,}',
  'a Date': new Date(0),
  'its JSON': new Date(0).toJSON(),
  'its number': 0.5,
  'an invalid Date': new Date(Number.NaN),
  'half of an emoji': '\ud83d',
  'its escape': '\\ud83d',
}

const NO_KEY: Record<string, () => unknown> = {
  'a Map': () => new Map([['user', 'a']]),
  'a Set': () => new Set(['a']),
  'a class’s instance': () => new Tenant('a'),
  'a function': () => () => 'a',
  'a symbol': () => Symbol('a'),
  'a registered symbol': () => Symbol.for('a'),
  'a RegExp': () => /a/,
  'an Error': () => new Error('a'),
  Headers: () => new Headers({ authorization: 'a' }),
  URLSearchParams: () => new URLSearchParams('user=a'),
  'a URL': () => new URL('http://a/'),
  'a Request': () => new Request('http://x/a'),
  'an ArrayBuffer': () => Uint8Array.of(1).buffer,
  'a typed array': () => Uint8Array.of(1),
  'a Buffer': () => Buffer.from('a'),
  'a Blob': () => new Blob(['a']),
  'a promise': () => Promise.resolve('a'),
  'a WeakMap': () => new WeakMap(),
  'a boxed text': () => Object('a') as unknown,
  'the arguments of a call': () => {
    return (function (..._: unknown[]) {
      // biome-ignore lint/complexity/noArguments: the object itself is what is tested
      return arguments
    })('a')
  },
  'a circle': () => circle(1),
  'a Proxy': () => new Proxy({ a: 1 }, {}),
  'a revoked Proxy': () => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    return proxy as unknown
  },
  'a getter': () => ({
    get user() {
      throw new Error('a getter was asked')
    },
  }),
  'a symbol as key': () => ({ [Symbol('a')]: 1 }),
  'a hidden property': () => Object.defineProperty({}, 'user', { value: 'a' }),
  'a list with a name': () => Object.assign([1], { user: 'a' }),
  'a subclass of Array': () => new (class Rows extends Array {})(1),
  'a Date with a property': () => Object.assign(new Date(0), { zone: 'a' }),
  'a subclass of Date': () => new (class Day extends Date {})(0),
  'an object with another prototype': () => Object.create({ user: 'a' }),
  'too much': () => Array.from({ length: 20_000 }, () => 1),
  'a graph that unfolds for ever': () => {
    let graph: unknown = {}
    for (let i = 0; i < 64; i++) graph = [graph, graph]
    return graph
  },
  'a nest too deep to be walked': () => {
    let nest: unknown = {}
    for (let i = 0; i < 9_000; i++) nest = [nest]
    return nest
  },
}

describe('the default key of a cache', () => {
  it('tells apart all that a function could', () => {
    const keys = new Map<string, string>()
    for (const [what, value] of Object.entries(DIFFERENT)) {
      const key = callKey(undefined, [value])
      expect(key, what).toBeDefined()
      expect(keys.get(key!), `${what} has the key of another`).toBeUndefined()
      keys.set(key!, what)
    }
    expect(callKey(undefined, [])).not.toBe(callKey(undefined, [undefined]))
    expect(callKey(undefined, ['a', 'b'])).not.toBe(callKey(undefined, [['a', 'b']]))
  })

  it('is the same for the same contents', () => {
    const make = (): unknown[] => ['sku', { page: 1, tags: ['a', null], since: new Date(5), big: 7n, none: undefined }]
    expect(callKey(undefined, make())).toBe(callKey(undefined, make()))
    const shared = { a: 1 }
    expect(callKey(undefined, [shared, shared])).toBe(callKey(undefined, [{ a: 1 }, { a: 1 }]))
  })

  it.each(Object.entries(NO_KEY))('is none for %s, alone or within', (what, make) => {
    expect(callKey(undefined, [make()])).toBeUndefined()
    if (what === 'a nest too deep to be walked') return
    expect(callKey(undefined, [{ filter: [make()] }])).toBeUndefined()
  })

  it('counts a `this` that is no object', async () => {
    const told = guard(
      async function (this: unknown) {
        return String(this)
      },
      { cache: '1m' },
    )
    const keyed = guard(
      async function (this: unknown) {
        return String(this)
      },
      { cache: '1m', key: () => 'k' },
    )
    for (const asked of [told, keyed]) {
      expect(await asked.call('a')).toBe('a')
      expect(await asked.call('b')).toBe('b')
      expect(await asked.call(Symbol('a'))).toBe('Symbol(a)')
      expect(await asked.call(Symbol('b'))).toBe('Symbol(b)')
    }
  })
})
