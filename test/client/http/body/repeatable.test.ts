import { openAsBlob } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { request } from 'undici'
import { describe, expect, it } from 'vitest'
import { makeDispatcher } from '../../../../src/client/http/dispatcher/dispatcher.ts'
import { deadPort } from '../../../rigs/dead-port.ts'
import { failure, opened, rigOver, rigWith } from '../opened.ts'
import { type Rig, TestServer } from '../rig.ts'

interface Seen {
  readonly body: string
  readonly type: string | undefined
  readonly length: string | undefined
}

/**
 * Two instances; the first request that is read to its end is answered with 503, the others with
 * 200.
 */
async function failingOnce(options: { whole?: boolean } = {}): Promise<{ rig: Rig; seen: Seen[] }> {
  const seen: Seen[] = []
  let answered = 0
  const handler = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    if (options.whole === false && answered++ === 0) {
      res.writeHead(503).end()
      return
    }
    const parts: Buffer[] = []
    try {
      for await (const part of req) parts.push(part as Buffer)
    } catch {
      return
    }
    seen.push({
      body: Buffer.concat(parts).toString('latin1'),
      type: req.headers['content-type'],
      length: req.headers['content-length'],
    })
    res.writeHead(seen.length === 1 && options.whole !== false ? 503 : 200).end('ok')
  }
  const servers = [await new TestServer(handler).listen(), await new TestServer(handler).listen()]
  for (const server of servers) opened(server)
  return { rig: await rigOver(servers.map(({ port }) => port)), seen }
}

const form = (): FormData => {
  const made = new FormData()
  made.append('a', 'one\ntwo')
  made.append('b "quoted"', new File(['hello'], 'x\r\ny.txt', { type: 'text/x' }))
  return made
}
const asked = (body: unknown, init: object = {}): Request =>
  new Request('http://inventory/', { method: 'PUT', body: body as string, ...init })

/** What can be sent again, as each door takes it. */
const KINDS: Record<string, () => unknown> = {
  text: () => 'hello',
  bytes: () => Buffer.from('hello'),
  'an ArrayBuffer': () => new TextEncoder().encode('hello').buffer,
  parameters: () => new URLSearchParams({ a: 'hello' }),
  'a Blob': () => new Blob(['hel', 'lo'], { type: 'text/x' }),
  'a File': () => new File(['hello'], 'a'),
  'an empty Blob': () => new Blob([]),
  'a form': form,
  'an empty form': () => new FormData(),
  'a list of parts': () => [Buffer.from('hel'), 'lo'],
}

const DOORS: Record<string, (rig: Rig, body: unknown) => Promise<number>> = {
  http: async (rig, body) => (await rig.http.request('PUT', '/', { body: body as string })).status,
  fetch: async (rig, body) => (await rig.fetch('http://inventory/', { method: 'PUT', body: body as string })).status,
  dispatcher: async (rig, body) => {
    const dispatcher = makeDispatcher((name) => (name === 'inventory' ? rig : undefined))
    opened({ close: () => dispatcher.close() })
    return (await request('http://inventory.mesh/', { method: 'PUT', body: body as string, dispatcher })).statusCode
  },
}

describe.each(Object.entries(DOORS))('through %s', (_, put) => {
  it.each(Object.entries(KINDS))('%s is sent again whole, with its length and the same type', async (_kind, make) => {
    const { rig, seen } = await failingOnce()
    expect(await put(rig, make())).toBe(200)
    expect(seen.length).toBe(2)
    expect(seen[1]).toEqual(seen[0])
    expect(seen[0]!.length).toBe(String(seen[0]!.body.length))
  })
})

describe('a Request', () => {
  it.each(Object.entries(KINDS).filter(([kind]) => kind !== 'a list of parts'))(
    'made from %s is sent again whole',
    async (_, make) => {
      const { rig, seen } = await failingOnce()
      expect((await rig.fetch(asked(make()))).status).toBe(200)
      expect(seen.length).toBe(2)
      expect(seen[1]).toEqual(seen[0])
    },
  )

  it.each([5, 200_000, 2_000_000])('made from text is sent again with its length: %i bytes', async (length) => {
    const { rig, seen } = await failingOnce()
    const body = 'x'.repeat(length)
    expect((await rig.fetch(asked(body))).status).toBe(200)
    const sent = { body, length: String(length), type: 'text/plain;charset=UTF-8' }
    expect(seen).toEqual([sent, sent])
  })

  it('made from a stream is sent again, if what was sent of it could be kept', async () => {
    const { rig, seen } = await failingOnce()
    async function* slowly(): AsyncGenerator<Uint8Array> {
      for (const part of ['a', 'b', 'c']) {
        await new Promise((resolve) => setTimeout(resolve, 5))
        yield Buffer.from(part)
      }
    }
    const body = ReadableStream.from(slowly())
    expect((await rig.fetch(asked(body, { duplex: 'half' }))).status).toBe(200)
    expect(seen.map(({ body: sent }) => sent)).toEqual(['abc', 'abc'])
  })

  it('beyond what is kept is sent once, and whole', async () => {
    const { rig, seen } = await failingOnce()
    const parts = Array.from({ length: 20 }, () => Buffer.alloc(50_000, 'x'))
    expect((await rig.fetch(asked(ReadableStream.from(parts), { duplex: 'half' }))).status).toBe(503)
    expect(seen.map(({ body }) => body.length)).toEqual([1_000_000])
    expect(rig.attempts.admitted).toBe(1)
  })

  it('that has been used is refused as fetch refuses it, and nothing is sent', async () => {
    const { rig } = await failingOnce()
    const sent = asked('hello')
    expect(sent.bodyUsed).toBe(false)
    await rig.fetch(sent)
    expect(sent.bodyUsed).toBe(true)
    const read = asked('hello')
    await read.text()
    const locked = asked('hello')
    locked.body!.getReader()
    const before = rig.attempts.admitted
    for (const used of [sent, read, locked]) await expect(rig.fetch(used)).rejects.toThrow(TypeError)
    expect(rig.attempts.admitted).toBe(before)
    expect((await rig.fetch(read, { body: 'another' })).status).toBe(200)
  })

  it('is used by the first of two calls', async () => {
    const { rig } = await failingOnce()
    const both = asked('hello')
    const [first, second] = await Promise.allSettled([rig.fetch(both), rig.fetch(both)])
    expect([first.status, second.status]).toEqual(['fulfilled', 'rejected'])
  })

  it('whose stream fails ends the call with that error', async () => {
    const { rig } = await failingOnce()
    const error = new Error('the disk is gone')
    const body = new ReadableStream({
      pull(controller) {
        controller.error(error)
      },
    })
    expect((await failure(rig.fetch(asked(body, { duplex: 'half' })))).cause).toBe(error)
  })
})

describe('a body that is sent again', () => {
  it('is streamed anew by each attempt, from a file as from memory', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'inmesh-body-'))
    opened({ close: () => rm(folder, { recursive: true }) })
    const path = join(folder, 'a')
    await writeFile(path, 'x'.repeat(300_000))
    const blob = await openAsBlob(path)
    let opens = 0
    const stream = blob.stream.bind(blob)
    blob.stream = () => {
      opens += 1
      return stream()
    }
    const { rig, seen } = await failingOnce()
    expect((await rig.http.put('/', blob)).status).toBe(200)
    expect(seen.map(({ body, length }) => [body.length, length])).toEqual([
      [300_000, '300000'],
      [300_000, '300000'],
    ])
    expect(opens).toBe(2)
  })

  it('is not opened for an endpoint that refuses the connection', async () => {
    const { rig, seen } = await failingOnce()
    const other = await rigOver([await deadPort(), rig.endpoint.port])
    let opens = 0
    const blob = new Blob(['hello'])
    const stream = blob.stream.bind(blob)
    blob.stream = () => {
      opens += 1
      return stream()
    }
    await other.http.post('/', blob)
    expect([opens, seen.length]).toEqual([1, 1])
  })

  it('is broken off, and not ended, where the answer came before its end', async () => {
    const { rig, seen } = await failingOnce({ whole: false })
    const body = 'x'.repeat(8_000_000)
    expect((await rig.http.put('/', new Blob([body]))).status).toBe(200)
    expect(seen.map(({ body: sent }) => sent.length)).toEqual([8_000_000])
  })

  it('of a list is checked before anything is sent, and is the list as it was', async () => {
    const { rig, seen } = await failingOnce()
    await expect(rig.http.request('PUT', '/', { body: ['a', 1] as never })).rejects.toThrow('body[1]')
    const parts = ['a', 'b']
    const call = rig.http.request('PUT', '/', { body: parts })
    parts.push('c')
    expect((await call).status).toBe(200)
    expect(seen.map(({ body }) => body)).toEqual(['ab', 'ab'])
  })

  it('is encoded as a form that a browser would send', async () => {
    const rig = await rigWith(async (req, res) => {
      const parts: Buffer[] = []
      for await (const part of req) parts.push(part)
      res.setHeader('content-type', req.headers['content-type']!)
      res.end(Buffer.concat(parts))
    })
    const back = await (await rig.fetch('http://inventory/', { method: 'POST', body: form() })).formData()
    expect(back.get('a')).toBe('one\r\ntwo')
    const file = back.get('b "quoted"') as File
    expect([await file.text(), file.type]).toEqual(['hello', 'text/x'])
  })
})

describe('a stream that has been used', () => {
  const USED: Record<string, () => Promise<unknown>> = {
    'a Node stream that was read': async () => {
      const stream = Readable.from(['a'])
      for await (const _ of stream);
      return stream
    },
    'a Node stream that was destroyed': async () => Readable.from(['a']).destroy(),
    'a web stream that was read': async () => {
      const stream = new Blob(['a']).stream()
      await new Response(stream).text()
      return stream
    },
    'a web stream that is locked': async () => {
      const stream = new Blob(['a']).stream()
      stream.getReader()
      return stream
    },
  }
  it.each(Object.entries(USED))('is refused and not sent empty: %s', async (_, make) => {
    const { rig } = await failingOnce()
    const body = (await make()) as string
    await expect(rig.http.put('/', body)).rejects.toThrow('read only once')
    await expect(rig.fetch('http://inventory/', { method: 'PUT', body })).rejects.toThrow(TypeError)
    expect(rig.attempts.admitted).toBe(0)
  })

  it('is refused when a call has sent it: a generator', async () => {
    const { rig } = await failingOnce()
    const body = (async function* () {
      yield 'a'
    })()
    await rig.http.put('/', body)
    await expect(rig.http.put('/', body)).rejects.toThrow('read only once')
    expect(rig.attempts.admitted).toBe(1)
  })
})
