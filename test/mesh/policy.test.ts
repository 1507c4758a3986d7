/** Who may call and how much, told by the registry and in force without a restart. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Mesh } from '../../src/index.ts'
import type { Registry } from '../../src/registry/index.ts'
import { countOf, eventually, Rig } from '../end-to-end/rig.ts'

let rig: Rig
let registry: Registry

beforeEach(async () => {
  rig = new Rig()
  registry = await rig.registry()
})

afterEach(async () => {
  await rig.close()
})

test('nobody may call by default; an intention that is pushed, or taken away, counts within a second', async () => {
  let handled = 0
  const server = await rig.mesh(registry, 'inventory')
  await server.serve(
    (_req, res) => {
      handled += 1
      res.end('hello')
    },
    { host: '127.0.0.1' },
  )
  const checkout = await rig.mesh(registry, 'checkout')
  const mallory = await rig.mesh(registry, 'mallory')
  const status = async (mesh: Mesh, method = 'GET', path = '/items/1'): Promise<number> => {
    try {
      const response = await mesh.http('inventory').request(method, path)
      await response.text()
      return response.status
    } catch (error) {
      return (error as { code?: string }).code === 'permission-denied' ? 403 : Promise.reject(error)
    }
  }
  expect(await status(checkout)).toBe(403)
  expect(handled).toBe(0)
  expect(countOf(server, 'intention:denied')).toBe(1)
  expect(server.events().find(({ name }) => name === 'intention:denied')?.payload).toMatchObject({
    peer: expect.stringContaining('checkout'),
    method: 'GET',
    path: '/items/1',
  })

  const allow = [{ from: 'checkout', methods: ['GET'], paths: ['/items/*'] }]
  await registry.applyPolicies([{ service: 'inventory', allow }])
  await eventually('checkout may read', async () => (await status(checkout)) === 200)
  expect(await status(checkout, 'POST')).toBe(403)
  expect(await status(checkout, 'GET', '/orders/1')).toBe(403)
  expect(await status(mallory)).toBe(403)

  await registry.applyPolicies([{ service: 'inventory', allow: [] }])
  await eventually('nobody may any more', async () => (await status(checkout)) === 403)
})

test('a server at its limit answers 503 with retry-after, and the client goes to another', async () => {
  await registry.applyPolicies([
    { service: 'mesh', defaultIntention: 'allow' },
    { service: 'inventory', limits: { concurrency: 1 }, timeout: '50s', balancer: 'round-robin' },
  ])
  const release: (() => void)[] = []
  const start = async (name: string) => {
    const mesh = await rig.mesh(registry, 'inventory')
    const server = await mesh.serve(
      (req, res) => {
        if (req.url === '/hold') release.push(() => res.end(name))
        else res.end(name)
      },
      { host: '127.0.0.1' },
    )
    return { mesh, server }
  }
  const one = await start('one')
  const client = await rig.mesh(registry, 'checkout')
  const inventory = client.http('inventory')
  const held = inventory.get('/hold')
  await eventually('one is busy', () => release.length === 1)

  // There is no other endpoint: the refusal reaches the caller with its retry-after.
  const refused = await inventory.get('/', { retry: false })
  expect(refused.status).toBe(503)
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  await refused.text()
  expect(countOf(one.mesh, 'admission:refused')).toBeGreaterThan(0)

  await start('two')
  const answers: string[] = []
  await eventually('the client knows the second', async () => {
    const response = await inventory.get('/')
    answers.push(await response.text())
    return response.ok
  })
  expect(answers.at(-1)).toBe('two')
  // POST too: what was refused has certainly not been executed.
  for (let i = 0; i < 10; i++) expect(await (await inventory.post('/', 'x')).text()).toBe('two')
  for (const go of release) go()
  expect(await (await held).text()).toBe('one')
  expect(answers).not.toContain('one')
})
