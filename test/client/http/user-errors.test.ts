import { Readable } from 'node:stream'
import { afterEach, describe, expect, it } from 'vitest'
import { isMeshError } from '../../../src/core/errors.ts'
import { startTestMesh, type TestMesh } from '../../../src/testing/index.ts'
import { until } from './rig.ts'

let test: TestMesh | undefined

afterEach(async () => {
  await test?.close()
})

describe('what is the fault of the caller', () => {
  it('is not held against the service: a request body whose source fails opens no circuit', async () => {
    test = await startTestMesh()
    await test.serve('inventory', (req, res) => {
      req.on('error', () => undefined)
      req.resume().on('end', () => res.end('ok'))
    })
    const caller = await test.join('checkout')
    const inventory = caller.http('inventory')
    const codes = new Set<string>()
    for (let i = 0; i < 30; i++) {
      const broken = Readable.from(
        (async function* () {
          yield 'half'
          throw new Error('my source broke')
        })(),
      )
      await inventory.post('/', broken).catch((error: unknown) => {
        codes.add(isMeshError(error) ? `${error.code}: ${(error.cause as Error).message}` : String(error))
      })
    }
    expect([...codes]).toEqual(['cancelled: my source broke'])
    expect((await inventory.get('/')).status).toBe(200)
    expect(caller.circuits().every((circuit) => circuit.closed)).toBe(true)
  })

  it('gets a clear end: a client kept after the mesh was closed says so at once', async () => {
    test = await startTestMesh()
    await test.serve('inventory', (_req, res) => res.end('ok'))
    const caller = await test.join('checkout')
    const inventory = caller.http('inventory')
    await inventory.get('/')
    await caller.close()
    await expect(inventory.get('/')).rejects.toMatchObject({ code: 'closed' })
  })
})

describe('a streaming call', () => {
  it('outlasts the deadline on both sides', async () => {
    test = await startTestMesh({
      policies: [{ service: 'inventory', timeout: '600ms', retry: { perTryTimeout: '600ms' } }],
    })
    await test.serve('inventory', (req, res) => {
      if (req.url === '/warm') {
        res.end()
        return
      }
      res.write('first ')
      setTimeout(() => res.end('last'), 1_200)
    })
    const caller = await test.join('checkout')
    const inventory = caller.http('inventory')
    // Its connection may take longer to make than a call may take.
    await until(() =>
      inventory.get('/warm').then(
        ({ ok }) => ok,
        () => false,
      ),
    )
    const response = await inventory.get('/', { streaming: true })
    expect(await response.text()).toBe('first last')
  })
})

describe('fetch', () => {
  it('may be handed on by itself', async () => {
    test = await startTestMesh()
    await test.serve('inventory', (_req, res) => res.end('ok'))
    const { fetch } = await test.join('checkout')
    expect(await (await fetch('http://inventory/')).text()).toBe('ok')
  })
})
