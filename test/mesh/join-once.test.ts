import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { joinOnce } from '../../src/index.ts'
import * as noNode from '../../src/no-node.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'

let testMesh: TestMesh
let options: {
  service: string
  registry: string
  stateDir: string
  handleSignals: boolean
  drainNotice: number
  joinTimeout: number
}
beforeAll(async () => {
  testMesh = await startTestMesh()
  const { url: registry } = testMesh.registry
  options = { service: 'web', registry, stateDir: 'memory', handleSignals: false, drainNotice: 0, joinTimeout: 30_000 }
})
afterAll(() => testMesh.close())

test('every call gives the mesh of the first, also while it joins, until it is closed', async () => {
  const before = testMesh.registry.counts.sessions
  const [first, second] = await Promise.all([joinOnce(options), joinOnce(options)])
  expect(second).toBe(first)
  expect(await joinOnce({ ...options })).toBe(first)
  expect(testMesh.registry.counts.sessions).toBe(before + 1)
  const closing = first.close()
  const next = await joinOnce(options)
  expect(next).not.toBe(first)
  await Promise.all([closing, next.close()])
})

test('a join that fails is tried again by the next call', async () => {
  const nowhere = { ...options, registry: 'https://127.0.0.1:1', joinTimeout: 200 }
  await expect(joinOnce(nowhere)).rejects.toMatchObject({ code: 'registry-unavailable' })
  const mesh = await joinOnce(options)
  expect(mesh.service).toBe('web')
  await mesh.close()
})

test('another service is refused, and other changed options are named in a warning', async () => {
  const warnings: Error[] = []
  const listener = (warning: Error): unknown => warning.message.startsWith('joinOnce') && warnings.push(warning)
  process.on('warning', listener)
  const mesh = await joinOnce(options)
  await expect(joinOnce({ ...options, service: 'api' })).rejects.toThrow("this process has joined as 'web'")
  expect(await joinOnce({ ...options, zone: 'b', drainNotice: 1 })).toBe(mesh)
  await expect
    .poll(() => warnings.map(({ message }) => message))
    .toEqual(['joinOnce: changed options (zone, drainNotice) come into force when the process restarts'])
  process.off('warning', listener)
  await expect(joinOnce({ ...options, zoen: 'b' } as never)).rejects.toThrow("did you mean 'zone'?")
  await mesh.close()
})

test('a build of Next.js is no instance', async () => {
  process.env.NEXT_PHASE = 'phase-production-build'
  try {
    await expect(joinOnce(options)).rejects.toMatchObject({
      code: 'not-in-mesh',
      message: expect.stringContaining("by `await connection()` (from 'next/server')"),
    })
  } finally {
    delete process.env.NEXT_PHASE
  }
})

describe('the entry for runtimes without sockets', () => {
  test('has the names of the other, and says what to do', async () => {
    const names = Object.keys(await import('../../src/index.ts'))
    expect(Object.keys(noNode).toSorted()).toEqual(names.toSorted())
    await expect(noNode.joinMesh()).rejects.toThrow("leave out `export const runtime = 'edge'`")
    expect(noNode.detached(() => noNode.currentCall())).toBeUndefined()
  })
})
