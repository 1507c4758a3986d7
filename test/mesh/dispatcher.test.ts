import { request } from 'undici'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'

let test: TestMesh

beforeEach(async () => {
  test = await startTestMesh()
})

afterEach(async () => {
  await test.close()
})

describe('mesh.close()', () => {
  it('does not wait for a reader of the dispatcher that has stopped reading', async () => {
    await test.serve('inventory', (_req, res) => void res.write('x'.repeat(70_000)))
    const mesh = await test.join('checkout')
    const dispatcher = mesh.dispatcher()
    const { body } = await request('http://inventory.mesh/', { dispatcher })
    const broken = new Promise<Error>((resolve) => body.once('error', resolve))
    await mesh.close()
    expect(await broken).toBeInstanceOf(Error)
    await expect(request('http://inventory.mesh/', { dispatcher })).rejects.toMatchObject({ code: 'UND_ERR_DESTROYED' })
  })

  it("does not close the application's own fallback", async () => {
    const { Agent } = await import('undici')
    const fallback = new Agent()
    const mesh = await test.join('checkout')
    mesh.dispatcher({ fallback })
    await mesh.close()
    expect(fallback.closed).toBe(false)
    await fallback.close()
  })
})
