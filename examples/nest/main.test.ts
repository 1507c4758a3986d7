import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'
import { COMPILED_TEST_MS, compile } from '../../test/rigs/run-example.ts'

// Inside the package, because that is where 'inmesh' is found.
const OUTPUT = fileURLToPath(new URL('./dist', import.meta.url))

let testMesh: TestMesh
const processes: ChildProcess[] = []
beforeAll(async () => {
  testMesh = await startTestMesh()
  expect(await compile('examples/nest')).toEqual({ code: 0, lines: [], complaints: '' })
  await start('inventory')
}, COMPILED_TEST_MS)
afterAll(async () => {
  for (const child of processes) child.kill('SIGKILL')
  await testMesh.close()
  rmSync(OUTPUT, { recursive: true, force: true })
})

async function start(service: string): Promise<ChildProcess> {
  const joining = { INMESH_REGISTRY: testMesh.registry.url, INMESH_STATE_DIR: 'memory', INMESH_JOIN_TIMEOUT: '30s' }
  const environment = { ...process.env, ...joining }
  const child = spawn(process.execPath, [`${OUTPUT}/${service}.js`], { env: environment, stdio: ['ignore', 'pipe', 2] })
  processes.push(child)
  // On a busy machine it may log before that it waits for the registry.
  for await (const text of child.stdout.setEncoding('utf8')) if (text.includes(`${service} serves`)) return child
  throw new Error(`${service} ended with ${child.exitCode}`)
}

test('a service of Nest calls another one in three ways, and answers for one that is not there', async () => {
  await start('orders')
  const checkout = (await testMesh.join('checkout')).http('orders')
  const price = { sku: 'apple', cents: 30, askedBy: 'orders' }
  const answer = await checkout.get('/api/orders/apple')
  expect(await answer.json()).toEqual({ price, byAxios: price, left: 7, delivery: 'some day' })
  const bill = await checkout.get('/api/orders/bill', { retry: false })
  expect([503, 504]).toContain(bill.status)
  expect(bill.headers.get('content-type')).toBe('application/problem+json')
})

test('SIGTERM under load ends a service without a lost request, and the process with 0', async () => {
  const leaving = await start('orders')
  const checkout = (await testMesh.join('checkout')).http('orders')
  let left = false
  let answered = 0
  const load = async (): Promise<void> => {
    for (let after = 0; after < 3; after += left ? 1 : 0) {
      const answer = await checkout.get('/api/orders/apple')
      expect(answer.status).toBe(200)
      await answer.text()
      answered += 1
    }
  }
  const loads = Promise.all(Array.from({ length: 5 }, load))
  await expect.poll(() => answered).toBeGreaterThan(20)
  leaving.kill('SIGTERM')
  expect(await once(leaving, 'close')).toEqual([0, null])
  left = true
  await loads
})
