import { describe, expect, it } from 'vitest'
import type { HttpFilter } from '../../src/client/http-client.ts'
import { ScriptedServer } from '../support/scripted-server.ts'
import { makeRig, type Rig, TestServer, until } from './client-rig.ts'
import { opened } from './opened.ts'

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
      seen.push(`outer ${request.method} ${call.route.service}`)
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
})
