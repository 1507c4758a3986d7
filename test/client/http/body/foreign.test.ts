import { runInNewContext } from 'node:vm'
import { FormData as UndiciFormData } from 'undici'
import { describe, expect, it } from 'vitest'
import { rigWith } from '../opened.ts'
import type { TestServer } from '../rig.ts'

const mirror: ConstructorParameters<typeof TestServer>[0] = async (req, res) => {
  let body = ''
  for await (const part of req) body += part
  res.setHeader('x-type', req.headers['content-type'] ?? 'none')
  res.setHeader('x-query', req.url!)
  res.end(body)
}

/** Of another implementation: the same brand and methods, another class. */
class ForeignParams {
  get [Symbol.toStringTag](): string {
    return 'URLSearchParams'
  }

  *[Symbol.iterator](): IterableIterator<[string, string]> {
    yield ['a', '1']
  }

  toString(): string {
    return 'a=1'
  }
}

class ForeignBlob {
  readonly [Symbol.toStringTag] = 'Blob'
  readonly size = 5
  readonly type = 'text/x'

  async arrayBuffer(): Promise<ArrayBuffer> {
    return new TextEncoder().encode('hello').buffer
  }
}

class ForeignStream {
  readonly [Symbol.toStringTag] = 'ReadableStream'

  getReader(): object {
    const parts = ['hel', 'lo']
    return {
      async read() {
        const part = parts.shift()
        return { done: part === undefined, value: part && new TextEncoder().encode(part) }
      },
      async cancel() {},
    }
  }
}

function undiciForm(): UndiciFormData {
  const form = new UndiciFormData()
  form.append('sku', 'a-1')
  form.append('file', new Blob(['hello'], { type: 'text/plain' }), 'h.txt')
  return form
}

describe('a body that is no instance of our own classes', () => {
  it.each<[string, () => unknown, string | RegExp, string | RegExp]>([
    ['a FormData of undici', undiciForm, /^multipart\/form-data; boundary=/, /a-1[\s\S]*filename="h.txt"[\s\S]*hello/],
    ['URLSearchParams', () => new ForeignParams(), 'application/x-www-form-urlencoded;charset=UTF-8', 'a=1'],
    ['a Blob', () => new ForeignBlob(), 'text/x', 'hello'],
    ['a ReadableStream', () => new ForeignStream(), 'none', 'hello'],
    ['an ArrayBuffer of another realm', () => runInNewContext('new Uint8Array([104, 105]).buffer'), 'none', 'hi'],
    ['a Uint8Array of another realm', () => runInNewContext('new Uint8Array([104, 105])'), 'none', 'hi'],
    ['a DataView of another realm', () => runInNewContext('new DataView(new Uint8Array([104]).buffer)'), 'none', 'h'],
    ['a generator of another realm', () => runInNewContext('(async function* () { yield "hi" })()'), 'none', 'hi'],
  ])('is sent as what it is: %s', async (_, make, type, text) => {
    const rig = await rigWith(mirror)
    for (const answer of [
      await rig.http.post('/', make() as string),
      await rig.fetch('http://inventory/', { method: 'POST', body: make() as string }),
    ]) {
      expect(answer.headers.get('x-type')).toEqual(typeof type === 'string' ? type : expect.stringMatching(type))
      expect(await answer.text()).toEqual(typeof text === 'string' ? text : expect.stringMatching(text))
    }
  })

  it.each<[string, unknown]>([
    ['a Map', new Map([['a', 'b']])],
    ['a Set', new Set(['a'])],
    ['Headers', new Headers({ a: 'b' })],
    ['a Blob without bytes', { [Symbol.toStringTag]: 'Blob', size: 1, type: '' }],
    ['a form without entries', { [Symbol.toStringTag]: 'FormData' }],
    ['a form with a foreign file', { [Symbol.toStringTag]: 'FormData', entries: () => [['file', new ForeignBlob()]] }],
    ['a number', 5],
    ['a symbol', Symbol('a')],
  ])('is refused if it cannot be sent: %s', async (_, body) => {
    const rig = await rigWith(mirror)
    const wrong = { code: 'invalid-options', message: expect.stringContaining('body') }
    await expect(rig.http.post('/', body as string)).rejects.toMatchObject(wrong)
    await expect(rig.fetch('http://inventory/', { method: 'POST', body: body as string })).rejects.toMatchObject(wrong)
    expect(rig.attempts.admitted).toBe(0)
  })

  it('may be a plain object of another realm, sent as JSON', async () => {
    const rig = await rigWith(mirror)
    expect(await (await rig.http.post('/', runInNewContext('({ a: 1 })'))).json()).toEqual({ a: 1 })
  })
})

describe('a query', () => {
  it.each<[string, unknown, string]>([
    ['an object', { a: 1, b: [true, 'x'], none: undefined }, '/?a=1&b=true&b=x'],
    ['URLSearchParams', new URLSearchParams('a=1'), '/?a=1'],
    ['URLSearchParams of another implementation', new ForeignParams(), '/?a=1'],
    ['a Map', new Map([['a', '1']]), '/?a=1'],
    ['pairs', [['a', '1']], '/?a=1'],
    ['nothing', {}, '/'],
  ])('is taken as %s', async (_, query, url) => {
    const rig = await rigWith(mirror)
    expect((await rig.http.get('/', { query: query as never })).headers.get('x-query')).toBe(url)
  })

  it.each<[string, unknown]>([
    ['text', 'a=1'],
    ['null', null],
    ['a value of null', { a: null }],
    ['an object as a value', { a: { b: 1 } }],
    ['a list in a list', { a: [[1]] }],
    ['a Date', { a: new Date() }],
    ['a list of text', ['a', 'b']],
  ])('is refused as %s', async (_, query) => {
    const rig = await rigWith(mirror)
    await expect(rig.http.get('/', { query: query as never })).rejects.toThrow(/query/)
    expect(rig.attempts.admitted).toBe(0)
  })
})
