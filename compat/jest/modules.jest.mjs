import { createRequire } from 'node:module'
import { jest } from '@jest/globals'
import * as inmesh from 'inmesh'
import { startTestMesh } from 'inmesh/testing'

jest.setTimeout(30_000)

test('ES modules in Jest', async () => {
  const testMesh = await startTestMesh()
  await testMesh.serve('inventory', (_request, response) => response.end(inmesh.currentCall()?.peer?.service))
  const checkout = await testMesh.join('checkout')
  expect(await (await checkout.fetch('http://inventory/')).text()).toBe('checkout')
  await testMesh.close()
  expect(createRequire(import.meta.url)('inmesh').MeshError).toBe(inmesh.MeshError)
})
