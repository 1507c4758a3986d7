import { afterEach, expect, test } from 'vitest'
import * as inmesh from '../../src/index.ts'
import { ApiError, Faults, MeshError, OptionsError, StorageError, startTestMesh } from '../../src/testing/index.ts'

const closes: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closes.splice(0)) await close()
})

const errorOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  )

test('a test mesh throws the classes that inmesh/testing exports', async () => {
  expect(await errorOf(startTestMesh({ policies: 'none' as never }))).toBeInstanceOf(OptionsError)
  expect(await errorOf(startTestMesh({ policies: [{ service: 'a', timeout: 'soon' }] }))).toMatchObject({
    constructor: ApiError,
    code: 'invalid-policy',
  })
  expect(() => new Faults().set({ status: 503, reset: 'before' })).toThrow(OptionsError)
  const mesh = await startTestMesh()
  closes.push(() => mesh.close())
  expect(await errorOf(mesh.join('Not A Name'))).toBeInstanceOf(OptionsError)
  await mesh.close()
  expect(await errorOf(mesh.join('a'))).toMatchObject({ constructor: MeshError, code: 'closed' })
  expect(await errorOf(mesh.apply([{ service: 'a', timeout: '1s' }]))).toBeInstanceOf(StorageError)
})

test('they are the classes of inmesh itself', () => {
  expect([MeshError, OptionsError]).toEqual([inmesh.MeshError, inmesh.OptionsError])
})
