/** The mesh that applications test with, on its real sockets. */
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Faults, OptionsError, startTestMesh, type TestMesh } from '../../src/testing/index.ts'

let testMesh: TestMesh

beforeEach(async () => {
  testMesh = await startTestMesh()
})

afterEach(() => testMesh.close())

describe('a test mesh', () => {
  it('connects its members over mTLS and needs nothing from the environment', async () => {
    process.env.INMESH_REGISTRY = 'https://127.0.0.1:1'
    process.env.INMESH_ZONE = 'not a zone!'
    try {
      const inventory = await testMesh.serve('inventory', (_req, res) => res.end('7 left'))
      const checkout = await testMesh.join('checkout')
      const response = await checkout.fetch('http://inventory/items/42')
      expect(await response.text()).toBe('7 left')
      expect(checkout.spiffeId).toBe(`spiffe://${testMesh.registry.trustDomain}/service/checkout`)
      expect(inventory.faults.requests).toBe(1)
    } finally {
      delete process.env.INMESH_REGISTRY
      delete process.env.INMESH_ZONE
    }
  })

  it('serves any handler, and its callers know of a further instance at once', async () => {
    const one = await testMesh.serve(
      'inventory',
      createServer((_req, res) => res.end('one')),
    )
    const checkout = await testMesh.join('checkout')
    const ask = async (): Promise<string> => (await checkout.fetch('http://inventory/')).text()
    expect(await ask()).toBe('one')
    await testMesh.serve('inventory', (_req, res) => res.end('two'), { member: { version: 'v2' } })
    await one.close()
    for (let i = 0; i < 5; i++) expect(await ask()).toBe('two')
  })

  it('serves an application that is made with the mesh it is served in', async () => {
    await testMesh.serve('inventory', (_req, res) => res.end('7 left'))
    const orders = await testMesh.serve('orders', {
      app: async (mesh) => {
        const inventory = mesh.http('inventory')
        return async (_req, res) => res.end(await (await inventory.get('/items/42')).text())
      },
    })
    const checkout = await testMesh.join('checkout')
    orders.faults.set({ status: 503, times: 1 })
    expect(await (await checkout.fetch('http://orders/')).text()).toBe('7 left')
    expect(orders.faults.requests).toBe(2)
    const fails = testMesh.serve('broken', { app: () => Promise.reject(new Error('no database')) })
    await expect(fails).rejects.toThrow('no database')
    await expect(testMesh.serve('broken', { app: () => 5 as never })).rejects.toThrow(/handler/)
  })

  it('takes documents as the text of a file, and names the line of each mistake', async () => {
    await testMesh.serve('inventory', (_req, res) => res.end('7'))
    const checkout = await testMesh.join('checkout')
    expect((await checkout.fetch('http://inventory/')).status).toBe(200)
    await testMesh.apply('service: inventory\nallow: []\n---\nservice: mesh\ntimeout: 3s\n')
    expect((await checkout.fetch('http://inventory/')).status).toBe(403)
    const wrong = 'service: inventory\nretry:\n  attempts: 0\n'
    await expect(testMesh.apply(wrong)).rejects.toThrow(/^apply: line 3: retry\.attempts: expected/)
    await expect(startTestMesh({ policies: wrong })).rejects.toThrow(OptionsError)
    await expect(testMesh.apply({ service: 'inventory' } as never)).rejects.toThrow(/expected a list/)
    await expect(testMesh.registry.applyPolicies('service: inventory' as never)).rejects.toThrow(/expected a list/)
  })

  it('says where its switch for faults goes', async () => {
    const mesh = await testMesh.join('inventory')
    const wrong = mesh.serve(() => {}, { faults: new Faults() } as never)
    await expect(wrong).rejects.toThrow(/faults: expected a list of rules.*mesh\.serve\(faults\.before\(app\)\)/)
  })

  it('serves TCP, and its callers know of a further instance at once', async () => {
    const checkout = await testMesh.join('checkout')
    const waiting = checkout.connect('redis', { timeout: '10s' })
    const redis = await testMesh.listen('redis', (socket) => socket.end('PONG'), { member: { version: 'v1' } })
    expect(await text(waiting)).toBe('PONG')
    expect(await text(checkout.connect('redis'))).toBe('PONG')
    await redis.close()
    expect(redis.server.stats.connections).toBe(0)
  })

  it('has a document in force everywhere when apply resolves', async () => {
    await testMesh.serve('inventory', (_req, res) => res.end('7'))
    const checkout = await testMesh.join('checkout')
    const status = async (): Promise<number> => (await checkout.fetch('http://inventory/')).status
    expect(await status()).toBe(200)
    for (let i = 0; i < 10; i++) {
      await testMesh.apply([{ service: 'inventory', allow: [] }])
      expect(await status()).toBe(403)
      await testMesh.apply([{ service: 'inventory', allow: [{ from: 'checkout' }] }])
      expect(await status()).toBe(200)
    }
    // What changes nothing is not waited for.
    await testMesh.apply([{ service: 'inventory', allow: [{ from: 'checkout' }] }])
    await testMesh.apply([{ service: 'mesh', timeout: '3s' }])
  })

  it('starts with policies, and refuses wrong ones whole', async () => {
    const strict = await startTestMesh({ policies: [{ service: 'mesh', defaultIntention: 'deny' }] })
    try {
      await strict.serve('inventory', (_req, res) => res.end('7'))
      const checkout = await strict.join('checkout')
      expect((await checkout.fetch('http://inventory/')).status).toBe(403)
    } finally {
      await strict.close()
    }
    await expect(startTestMesh({ policies: [{ service: 'inventory', timeuot: '1s' }] })).rejects.toMatchObject({
      code: 'invalid-policy',
    })
    await expect(startTestMesh({ policys: [] } as never)).rejects.toThrow(/policys.*policies/s)
    await expect(testMesh.join('Check Out')).rejects.toThrow(OptionsError)
    await expect(testMesh.join('checkout', { weigth: 1 } as never)).rejects.toThrow(/weigth.*weight/s)
    await expect(testMesh.serve('inventory', 5 as never)).rejects.toThrow(/handler/)
  })

  it('closes although members were closed before, or are joining, and nothing joins after', async () => {
    const inventory = await testMesh.serve('inventory', (_req, res) => res.end('7'))
    const checkout = await testMesh.join('checkout')
    await inventory.close()
    await testMesh.apply([{ service: 'inventory', timeout: '1s' }])
    const joining = testMesh.join('late').then(
      (mesh) => mesh.service,
      (error) => error.code,
    )
    await Promise.all([testMesh.close(), testMesh.close()])
    expect(['late', 'closed']).toContain(await joining)
    expect(() => checkout.http('inventory')).toThrow(/closed/)
    await expect(testMesh.join('later')).rejects.toMatchObject({ code: 'closed' })
    await testMesh[Symbol.asyncDispose]()
  })

  it('goes on when its registry is closed', async () => {
    await testMesh.serve('inventory', (_req, res) => res.end('7'))
    const checkout = await testMesh.join('checkout')
    expect((await checkout.fetch('http://inventory/')).status).toBe(200)
    await testMesh.registry.close()
    expect((await checkout.fetch('http://inventory/')).status).toBe(200)
  })
})

describe('faults of a served instance', () => {
  it('answer with a status so many times, and retries get over it', async () => {
    let handled = 0
    const inventory = await testMesh.serve('inventory', (_req, res) => {
      handled += 1
      res.end('7')
    })
    const checkout = await testMesh.join('checkout')
    inventory.faults.set({ status: 503, times: 2 })
    expect(await (await checkout.fetch('http://inventory/')).text()).toBe('7')
    expect([inventory.faults.requests, inventory.faults.injected, handled]).toEqual([3, 2, 1])
  })

  it('delay, so that the caller runs out of time and the handler is not asked', async () => {
    let handled = 0
    const inventory = await testMesh.serve('inventory', (_req, res) => {
      handled += 1
      res.end('7')
    })
    const checkout = await testMesh.join('checkout')
    // A connection takes time of the first call.
    expect((await checkout.fetch('http://inventory/')).status).toBe(200)
    inventory.faults.set({ delay: '10s' })
    // Who notices first tells the caller: its own timer, or the server with a 504.
    const ended = await checkout
      .http('inventory')
      .get('/', { timeout: 500, retry: false })
      .then(
        ({ status }) => status,
        ({ code }) => code,
      )
    expect([504, 'deadline-exceeded']).toContain(ended)
    expect(inventory.faults.injected).toBe(1)
    inventory.faults.set({ delay: '50ms' })
    const askedAt = performance.now()
    expect((await checkout.fetch('http://inventory/')).status).toBe(200)
    expect(performance.now() - askedAt).toBeGreaterThan(45)
    expect(handled).toBe(2)
  })

  it('cut the connection before the work or after it; a POST is not repeated, a GET is', async () => {
    let handled = 0
    const inventory = await testMesh.serve('inventory', (req, res) => {
      req.resume().on('end', () => {
        handled += 1
        res.writeHead(200, { 'content-type': 'text/plain' })
        res.write('7 ')
        res.end('left')
      })
    })
    const checkout = (await testMesh.join('checkout')).http('inventory')
    inventory.faults.set({ reset: 'before', times: 1 })
    await expect(checkout.post('/', 'x')).rejects.toMatchObject({ code: 'connection-lost', sent: true })
    expect(handled).toBe(0)
    inventory.faults.set({ reset: 'after', times: 1 })
    await expect(checkout.post('/', 'x')).rejects.toMatchObject({ code: 'connection-lost', sent: true })
    expect(handled).toBe(1)
    inventory.faults.set({ reset: 'after', times: 1 })
    expect(await (await checkout.get('/')).text()).toBe('7 left')
    expect(handled).toBe(3)
  })

  it('hit a share of the requests, the same ones each time, of all instances that share a switch', async () => {
    const faults = new Faults()
    const handler = (_req: unknown, res: { end(text: string): unknown }): unknown => res.end('7')
    await testMesh.serve('inventory', handler, { faults })
    await testMesh.serve('inventory', handler, { faults })
    const checkout = (await testMesh.join('checkout')).http('inventory')
    const draw = async (seed: number): Promise<number[]> => {
      faults.set({ status: 418, share: '30%', seed })
      const statuses: number[] = []
      for (let i = 0; i < 60; i++) {
        const response = await checkout.get('/', { retry: false })
        await response.text()
        statuses.push(response.status)
      }
      return statuses
    }
    const first = await draw(7)
    expect(await draw(7)).toEqual(first)
    expect(await draw(8)).not.toEqual(first)
    const hits = first.filter((status) => status === 418).length
    expect(hits).toBeGreaterThan(8)
    expect(hits).toBeLessThan(30)
    faults.clear()
    expect((await checkout.get('/')).status).toBe(200)
  })

  it('name wrong options', () => {
    expect(() => new Faults({ status: 200, delay: 'soon' as '1s', shere: 1 } as never)).toThrow(
      /shere.*share.*delay.*status/s,
    )
    expect(() => new Faults({ status: 503, reset: 'before' })).toThrow(/either status or reset/)
    expect(() => new Faults({ reset: 'never' as 'after' })).toThrow(/before.*after/)
  })
})
