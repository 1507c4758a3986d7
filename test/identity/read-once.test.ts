/**
 * Each reading of a peer's certificate parses its chain again, into memory that is held until a
 * garbage collection.
 */
import { TLSSocket } from 'node:tls'
import { afterEach, expect, test, vi } from 'vitest'
import { startRegistry } from '../../src/registry/index.ts'
import { join, request } from '../rigs/registry-session.ts'
import { ask, clientOf, serve } from '../server/rig.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

test('the registry reads the certificate of an accepted connection once', async () => {
  const registry = await startRegistry({ port: 0, memory: true, log: false })
  try {
    const credentials = await join(registry, 'checkout')
    const read = vi.spyOn(TLSSocket.prototype, 'getPeerX509Certificate')
    expect(await request(registry, 'GET', '/healthz', { credentials })).toMatchObject({ status: 200 })
    expect(read).toHaveBeenCalledTimes(1)
  } finally {
    await registry.close()
  }
})

test('a server reads the certificate of an accepted connection once', async () => {
  const { server } = await serve((_request, response) => response.end('done'), { mode: 'strict' })
  const as = clientOf('checkout')
  const read = vi.spyOn(TLSSocket.prototype, 'getPeerX509Certificate')
  expect(await ask(server.port, { as, agent: undefined })).toMatchObject({ status: 200 })
  expect(read).toHaveBeenCalledTimes(1)
})
