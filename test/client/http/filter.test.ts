import { describe, expect, it } from 'vitest'
import type { HttpFilter } from '../../../src/client/http/options.ts'
import type { Call } from '../../../src/core/call.ts'
import { ScriptedServer } from '../../rigs/scripted-server.ts'
import { opened } from './opened.ts'
import { makeRig, type Rig, TestServer, until } from './rig.ts'

async function rigWith(filters: HttpFilter[]): Promise<Rig> {
  const server = await new TestServer((req, res) =>
    res.end(`${req.method} ${req.url} ${req.headers['x-who']}`),
  ).listen()
  opened(server)
  const rig = await makeRig([server.port], { filters })
  opened(rig)
  return rig
}

describe('filters', () => {
  it('run from the first to the last, once a call, and may change the request', async () => {
    const seen: string[] = []
    const outer: HttpFilter = async (request, call, next) => {
      seen.push(`outer ${request.method} ${call.kind.service}`)
      const res = await next({ ...request, headers: { 'x-who': 'outer' }, path: '/changed' }, call)
      seen.push(`outer ${res.status}`)
      return res
    }
    const inner: HttpFilter = (request, call, next) => {
      seen.push(`inner ${request.path}`)
      return next(request, call)
    }
    const rig = await rigWith([outer, inner])
    expect(await (await rig.http.get('/')).text()).toBe('GET /changed outer')
    expect(seen).toEqual(['outer GET inventory', 'inner /changed', 'outer 200'])
  })

  it('may answer by themselves, fail, or call twice', async () => {
    const rig = await rigWith([
      async (request, call, next) => {
        if (request.path === '/fail') throw new Error('not today')
        await (await next(request, call)).text()
        return next(request, call)
      },
    ])
    expect(await (await rig.http.get('/a')).text()).toBe('GET /a undefined')
    expect(rig.calls.admitted).toBe(2)
    await expect(rig.http.get('/fail')).rejects.toThrow('not today')
    expect(rig.calls.admitted).toBe(2)
  })

  it('may throw at once, reject with anything and forget their promise: the client gets a promise in any case', async () => {
    const odd: Record<string, HttpFilter> = {
      throws: () => {
        throw new Error('at once')
      },
      rejects: () => Promise.reject(undefined),
      answers: (() => 'no promise') as never,
    }
    const ends: unknown[] = []
    for (const filter of Object.values(odd)) {
      const rig = await rigWith([filter])
      const asked = rig.http.get('/')
      expect(asked).toBeInstanceOf(Promise)
      ends.push(await asked.catch((error: unknown) => ['rejected', error]))
      expect(rig.calls.admitted).toBe(0)
    }
    expect(ends).toEqual([['rejected', new Error('at once')], ['rejected', undefined], 'no promise'])
  })

  it('can set baggage, which travels, and cancel what they have passed on', async () => {
    let head = ''
    const server = await new ScriptedServer(async (c) => {
      head = await c.request()
    }).listen()
    opened(server)
    const rig = await makeRig([server.port], {
      filters: [
        (request, call, next) => {
          call.baggage = new Map([['a', 'b']])
          const res = next(request, call)
          void until(() => head !== '').then(() => call.cancel(new Error('changed my mind')))
          return res
        },
      ],
    })
    opened(rig)
    await expect(rig.http.get('/')).rejects.toMatchObject({ code: 'cancelled', sent: true })
    expect(head).toContain('baggage: a=b')
  })

  it('are given the call that is sent, and see what became of it', async () => {
    const server = await new TestServer((req, res) => {
      res.statusCode = req.url === '/flaky' && req.headers['inmesh-previous-attempts'] === undefined ? 503 : 200
      res.end()
    }).listen()
    opened(server)
    let seen: unknown[] = []
    let given: Call | undefined
    const rig = await makeRig([server.port], {
      filters: [
        async (request, call, next) => {
          const { attempts, endpoint } = call
          given = call
          const response = await next({ ...request, method: 'PUT', path: '/flaky' }, call)
          seen = [attempts, endpoint, call.attempts, call.endpoint?.port, call.kind.method, response.status]
          return response
        },
      ],
      retry: { attempts: 2 },
    })
    opened(rig)
    await rig.http.post('/')
    expect(seen).toEqual([0, undefined, 2, server.port, 'PUT', 200])
    await until(() => rig.endedCalls.length === 1)
    expect(rig.endedCalls[0]).toBe(given)
  })

  it('may say of the call what options say, and it holds unless the request says otherwise', async () => {
    const server = await new ScriptedServer(async (c) => {
      await c.request()
      c.end()
    }).listen()
    opened(server)
    const rig = await makeRig([server.port], {
      filters: [
        (request, call, next) => {
          if (request.path === '/again') call.idempotent = true
          call.deadlineAt = Math.min(call.deadlineAt, performance.now() + 20_000)
          return next(request, call)
        },
      ],
      retry: { attempts: 2 },
    })
    opened(rig)
    const attempts = async (path: string): Promise<number> => {
      const error = (await rig.http.post(path).catch((thrown: unknown) => thrown)) as { attempts: unknown[] }
      return error.attempts.length
    }
    expect([await attempts('/once'), await attempts('/again')]).toEqual([1, 2])
  })

  it('read the body, the headers and the query of a request once, and get headers that can be spread', async () => {
    const bodies: string[] = []
    const server = await new TestServer(async (req, res) => {
      let body = ''
      for await (const chunk of req) body += chunk
      bodies.push(`${req.url} ${body} ${req.headers['x-a']} ${req.headers['x-b']}`)
      res.end()
    }).listen()
    opened(server)
    const rig = await makeRig([server.port], {
      filters: [(request, call, next) => next({ ...request, headers: { ...request.headers, 'x-b': '2' } }, call)],
    })
    opened(rig)
    let read = 0
    const json = { toJSON: () => ++read }
    for (const headers of [
      new Headers({ 'X-A': '1' }),
      [['x-a', '1']],
      new Map([['x-a', '1']]).entries(),
      { 'x-a': '1' },
    ]) {
      await rig.http.request('POST', '/', { json, headers: headers as never, query: { q: 1 } })
    }
    expect(bodies).toEqual([1, 2, 3, 4].map((nth) => `/?q=1 ${nth} 1 2`))
  })

  it('may cancel all that they have passed on, by the call that they were given', async () => {
    const server = await new TestServer((req, res) => {
      if (req.url === '/first') res.end()
    }).listen()
    opened(server)
    const rig = await makeRig([server.port], {
      filters: [
        async (request, call, next) => {
          await (await next({ ...request, path: '/first' }, call)).text()
          const both = [next({ ...request, path: '/a' }, call), next({ ...request, path: '/b' }, call)]
          await until(() => rig.endpoint.pending === 2)
          call.cancel(new Error('enough'))
          const ends = await Promise.allSettled(both)
          expect(ends.map((each) => each.status)).toEqual(['rejected', 'rejected'])
          return both[0]!
        },
      ],
    })
    opened(rig)
    await expect(rig.http.get('/')).rejects.toMatchObject({ code: 'cancelled', cause: new Error('enough') })
    await until(() => rig.endpoint.pending === 0)
  })

  it('may cancel a call before it is sent', async () => {
    const rig = await rigWith([
      (request, call, next) => {
        call.cancel(new Error('not now'))
        return next(request, call)
      },
    ])
    await expect(rig.http.get('/')).rejects.toMatchObject({ code: 'cancelled', sent: false })
  })
})
