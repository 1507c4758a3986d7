import { once } from 'node:events'
import { loadPackageDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startTestMesh, type TestInstance, type TestMesh } from '../src/testing/index.ts'
import { Project, type Running } from './project.ts'

let testMesh: TestMesh
let warehouse: TestInstance
let project: Project
let shop: Running

beforeAll(async () => {
  testMesh = await startTestMesh()
  warehouse = await testMesh.serve('warehouse', (_request, response) => response.end('{"left":70}'))
  project = await Project.install('compat/nest-11')
  await project.run('npm', ['run', 'build'])
  shop = project.start(['dist/main.js'], { INMESH_REGISTRY: testMesh.registry.url, INMESH_STATE_DIR: 'memory' })
  await shop.printed(/serves on \d+/)
}, 600_000)
afterAll(async () => {
  project?.remove()
  await testMesh?.close()
})

test('a CommonJS application of Nest 11 serves HTTP, gRPC, a gateway and probes in the mesh', async () => {
  const caller = await testMesh.join('checkout')
  const http = caller.http('shop')
  expect(await (await http.get('/api/items/a')).json()).toEqual({ sku: 'a', left: 7, by: 'shop', for: 'checkout' })
  expect(await (await http.get('/api/items/elsewhere')).json()).toEqual({ left: 70 })
  expect(await (await http.get('/api/healthz')).json()).toMatchObject({
    status: 'ok',
    info: { mesh: { status: 'up' } },
  })
  const { shop: proto } = loadPackageDefinition(loadSync(`${project.path}/shop.proto`)) as never as {
    shop: { Stock: new (address: string, credentials: unknown) => object }
  }
  const stock = caller.grpc(proto.Stock, 'shop') as { promises: { get(item: object): Promise<object> } }
  expect(await stock.promises.get({ sku: 'a' })).toMatchObject({ left: 7 })
  const room = caller.webSocket('shop', '/rooms')
  await once(room, 'open')
  room.send(JSON.stringify({ event: 'say', data: 'hello' }))
  const [{ data }] = await once(room, 'message')
  expect(JSON.parse(data)).toEqual({ event: 'said', data: 'HELLO' })
  room.close()
})

test('an error of the mesh in a handler is answered by the table, not by 500', async () => {
  await warehouse.close()
  const answer = await (await testMesh.join('checkout')).http('shop').get('/api/items/elsewhere')
  expect([503, 504]).toContain(answer.status)
  expect(answer.headers.get('content-type')).toBe('application/problem+json')
})

test('SIGTERM under load loses nothing, and the process exits with 0', async () => {
  const caller = await testMesh.join('checkout')
  const other = project.start(['dist/main.js'], { INMESH_REGISTRY: testMesh.registry.url, INMESH_STATE_DIR: 'memory' })
  await other.printed(/serves on \d+/)
  let left = false
  let answered = 0
  const load = async (): Promise<void> => {
    for (let after = 0; after < 5; after += left ? 1 : 0) {
      const answer = await caller.fetch('http://shop/api/items/a')
      expect(answer.status).toBe(200)
      await answer.text()
      answered += 1
    }
  }
  const loads = Promise.all(Array.from({ length: 10 }, load))
  await expect.poll(() => answered).toBeGreaterThan(50)
  expect(await shop.end('SIGTERM')).toEqual([0, null])
  left = true
  await loads
  expect(shop.output).toContain('destroyed')
  expect(shop.output).not.toContain('asked when it was destroyed')
  expect(await other.end('SIGTERM')).toEqual([0, null])
})
