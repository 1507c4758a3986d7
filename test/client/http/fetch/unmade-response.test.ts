import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { startTestMesh, type TestMesh } from '../../../../src/testing/index.ts'

let mesh: TestMesh

beforeEach(async () => {
  mesh = await startTestMesh()
})

afterEach(async () => {
  vi.unstubAllGlobals()
  await mesh.close()
})

test('a process whose Response was taken away gets an error from mesh.fetch, and its connection is used again', async () => {
  await mesh.serve('inventory', (req, res) => {
    if (req.url === '/short') res.end('7 left')
    else res.write('7 left')
  })
  const checkout = await mesh.join('checkout')
  vi.stubGlobal('Response', undefined)
  for (const path of ['/short', '/endless', '/short']) {
    await expect(checkout.fetch(`http://inventory${path}`, { timeout: '20s' })).rejects.toMatchObject({
      code: 'protocol-error',
      cause: expect.any(TypeError),
    })
  }
  vi.unstubAllGlobals()
  const response = await checkout.fetch('http://inventory/short')
  expect(await response.text()).toBe('7 left')
})
