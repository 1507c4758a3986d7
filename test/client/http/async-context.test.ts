import { AsyncLocalStorage } from 'node:async_hooks'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { describe, expect, it, vi } from 'vitest'
import { HttpClient } from '../../../src/client/http/client.ts'
import { makeDispatcher } from '../../../src/client/http/dispatcher/dispatcher.ts'
import type { HttpFilter } from '../../../src/client/http/options.ts'
import { Call } from '../../../src/core/call.ts'
import { inboundCall, serving } from '../../../src/core/context.ts'
import { opened } from './opened.ts'
import { endpoint, makeRig, type Rig, TestServer, until } from './rig.ts'

const user = new AsyncLocalStorage<string>()

/** Who this code runs for, by the user's own storage and by the request that is being served. */
const whose = (): string => {
  const theirs = inboundCall()?.baggage?.get('user')
  return user.getStore() === theirs ? `${theirs}` : `${user.getStore()} in the request of ${theirs}`
}

async function as<T>(rig: Rig, who: string, work: () => Promise<T>): Promise<T> {
  const request = new Call(rig.kind('GET', false), performance.now(), Number.POSITIVE_INFINITY, undefined)
  request.baggage = new Map([['user', who]])
  return user.run(who, () => serving(request, work))
}

type Note = (where: string) => void
type Use = (rig: Rig, http: HttpClient, note: Note, who: string) => Promise<unknown>

async function* chunks(note: Note): AsyncGenerator<string> {
  try {
    for (const part of ['a', 'b', 'c']) {
      note('iterable')
      await new Promise((resolve) => setImmediate(resolve))
      note('iterable after await')
      yield part
    }
  } finally {
    note('iterable at its end')
  }
}

function pulled(note: Note): ReadableStream<Uint8Array> {
  let left = 3
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        note('pull')
        if (left-- > 0) controller.enqueue(Buffer.from('x'))
        else controller.close()
      },
    },
    { highWaterMark: 0 },
  )
}

function readable(note: Note): Readable {
  let left = 3
  return new Readable({
    highWaterMark: 1,
    read() {
      note('read')
      this.push(left-- > 0 ? 'y' : null)
    },
    destroy(error, done) {
      note('destroy')
      done(error)
    },
  })
}

const USES: Record<string, Use> = {
  'a plain request': async (_rig, http, note) => {
    await (await http.get('/')).text()
    note('after text')
  },
  'what becomes JSON, a query and headers': async (_rig, http, note) => {
    const json = {
      toJSON() {
        note('toJSON')
        return { a: 1 }
      },
    }
    function* headers(): Generator<[string, string]> {
      note('headers')
      yield ['x-a', '1']
    }
    await (await http.request('POST', '/', { json, headers: headers() as never })).bytes()
    note('after bytes')
  },
  'a body from an iterable': async (_rig, http, note) => {
    await (await http.post('/', chunks(note))).text()
    note('after text')
  },
  'a body from a web stream': async (_rig, http, note) => (await http.post('/', pulled(note))).text(),
  'a body from a Node stream': async (_rig, http, note) => (await http.post('/', readable(note))).text(),
  'a body that is given up': async (_rig, http, note) => {
    const abort = new AbortController()
    const asked = http.post(
      '/',
      new ReadableStream<Uint8Array>({
        pull: () => {
          note('pull')
          setTimeout(() => abort.abort(), 5)
          return new Promise(() => {})
        },
        cancel: () => note('cancel'),
      }),
      { signal: abort.signal },
    )
    await expect(asked).rejects.toMatchObject({ code: 'cancelled' })
    note('after the rejection')
  },
  'a long answer, read as a stream': async (_rig, http, note) => {
    const res = await http.get('/long')
    for await (const _ of res.body) note('chunk')
    note('after the last chunk')
  },
  'a long answer, piped': async (_rig, http, note) => {
    const res = await http.get('/long')
    await res.body.pipeTo(
      new WritableStream({ write: () => note('write'), close: () => note('close'), start: () => note('start') }),
    )
    const events = Readable.fromWeb((await http.get('/long')).body as never)
    events.on('data', () => note('data')).on('end', () => note('end'))
    await buffer(events)
    note('after the stream')
  },
  fetch: async (rig, _http, note) => {
    const res = await rig.fetch('http://inventory/long', { method: 'POST', body: chunks(note) as never })
    note('after fetch')
    await Promise.all([res.clone().text(), res.text()])
    note('after both')
  },
  'a handler of the dispatcher': (rig, _http, note) =>
    new Promise<void>((resolve, reject) => {
      const dispatcher = makeDispatcher((name) => (name === 'inventory' ? rig : undefined))
      dispatcher.dispatch(
        { origin: 'http://inventory.mesh', path: '/long', method: 'POST', body: readable(note) },
        {
          onRequestStart: () => note('onRequestStart'),
          onResponseStart: () => note('onResponseStart'),
          onResponseData: () => note('onResponseData'),
          onResponseEnd: () => {
            note('onResponseEnd')
            resolve()
          },
          onResponseError: (_controller, error) => {
            note('onResponseError')
            reject(error)
          },
        },
      )
    }),
  'a failing handler of the dispatcher': (rig, _http, note) =>
    new Promise<void>((resolve) => {
      const dispatcher = makeDispatcher((name) => (name === 'inventory' ? rig : undefined))
      dispatcher.dispatch(
        { origin: 'http://inventory.mesh', path: '/reset', method: 'POST' },
        {
          onRequestStart: () => note('onRequestStart'),
          onResponseStart: () => note('onResponseStart'),
          onResponseData: () => note('onResponseData'),
          onResponseEnd: () => note('onResponseEnd'),
          onResponseError: () => {
            note('onResponseError')
            resolve()
          },
        },
      )
    }),
  'a failure and its retries': async (_rig, http, note) => {
    await http.get('/reset').catch(() => note('catch'))
    note('after')
  },
  'a signal that fires': async (_rig, http, note) => {
    const abort = new AbortController()
    abort.signal.addEventListener('abort', () => note('abort listener'))
    const asked = http.get('/never', { signal: abort.signal })
    setTimeout(() => abort.abort(), 5)
    await asked.catch(() => note('catch'))
  },
}

describe('what the user gave to the HTTP client runs in the context of its own caller', () => {
  it.each(Object.entries(USES))('%s, on cold, warm and contended connections', async (_what, use) => {
    const server = await new TestServer((req, res) => {
      if (req.url === '/reset') req.socket.destroy()
      else if (req.url === '/long') {
        let left = 5
        const more = (): void => {
          if (left-- > 0) {
            res.write(Buffer.alloc(20_000))
            setImmediate(more)
          } else res.end()
        }
        more()
      } else if (req.url !== '/never') req.resume().on('end', () => res.end('ok'))
    }).listen()
    opened(server)
    const foreign: string[] = []
    const noteOf =
      (who: string): Note =>
      (where) => {
        if (whose() !== who) foreign.push(`${where} of ${who} ran for ${whose()}`)
      }
    const filter: HttpFilter = async (request, call, next) => {
      const who = user.getStore()!
      noteOf(who)('filter')
      const response = await next(request, call)
      noteOf(who)('filter after next')
      return response
    }
    // One connection, so that requests queue for it behind those of others.
    const rig = await makeRig([], { connections: { maxConnections: 1 }, filters: [filter], retry: { attempts: 2 } })
    opened(rig)
    const round = (): Promise<unknown> =>
      Promise.all(
        Array.from({ length: 6 }, (_, i) => {
          const who = `user ${i % 2} of pair ${i >> 1}`
          return as(rig, who, () => use(rig, rig.http, noteOf(who), who))
        }),
      )
    // The first ones wait for an endpoint, which comes from outside of all requests.
    const first = round()
    await until(() => rig.cluster.waiters > 0)
    rig.cluster.add(endpoint(server.port))
    await first
    await round()
    expect(foreign).toEqual([])
  })

  it('a shared GET: each goes on in its own, and nobody in that of the first', async () => {
    const server = await new TestServer((_req, res) => setTimeout(() => res.end('ok'), 5)).listen()
    opened(server)
    const rig = await makeRig([server.port])
    opened(rig)
    const http = new HttpClient(rig, [], { collapse: true, cacheMs: 5 })
    const note = vi.fn()
    for (let i = 0; i < 3; i++) {
      await Promise.all(
        ['a', 'b'].map((who) =>
          as(rig, who, async () => {
            const res = await http.get('/')
            note(whose() === who)
            for await (const _ of res.body) note(whose() === who)
            note(whose() === who)
          }),
        ),
      )
    }
    expect(new Set(note.mock.calls.flat())).toEqual(new Set([true]))
  })
})
