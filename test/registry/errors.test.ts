import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { ApiError, OptionsError, type Registry, StorageError, startRegistry } from '../../src/registry/index.ts'

const OPTIONS = { port: 0, memory: true, log: false } as const
let registry: Registry | undefined
let directory: string | undefined

afterEach(async () => {
  await registry?.close()
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true })
  registry = directory = undefined
})

const errorOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  )

test('startRegistry() throws an OptionsError for a wrong option and for a taken port', async () => {
  registry = await startRegistry(OPTIONS)
  const wrong = (await errorOf(startRegistry({ ...OPTIONS, lease: 'soon' as '1s' }))) as OptionsError
  expect(wrong).toBeInstanceOf(OptionsError)
  expect(wrong.issues).toMatchObject([{ path: ['lease'] }])
  const taken = await errorOf(startRegistry({ ...OPTIONS, port: registry.port }))
  expect(taken).toBeInstanceOf(OptionsError)
})

test('startRegistry() throws a StorageError for a store that is none, with what to do', async () => {
  directory = mkdtempSync(join(tmpdir(), 'inmesh-errors-'))
  writeFileSync(join(directory, 'registry.db'), 'x'.repeat(8_192), { mode: 0o600 })
  const error = await errorOf(startRegistry({ port: 0, dataDir: directory, log: false }))
  expect(error).toBeInstanceOf(StorageError)
  expect(String(error)).toMatch(/registry\.db.*Restore the data directory/)
})

test('a registry throws an ApiError with a stable code, and a StorageError when it is closed', async () => {
  registry = await startRegistry(OPTIONS)
  const wrong = (await errorOf(registry.applyPolicies([{ service: 'a', timeout: 'soon' }]))) as ApiError
  expect(wrong).toBeInstanceOf(ApiError)
  expect(wrong).toMatchObject({ code: 'invalid-policy', status: 422, issues: [{ path: [0, 'timeout'] }] })
  expect(await errorOf(registry.createJoinToken({ service: 'Not A Name' }))).toBeInstanceOf(OptionsError)
  await registry.close()
  expect(await errorOf(registry.applyPolicies([{ service: 'a', timeout: '1s' }]))).toBeInstanceOf(StorageError)
  expect(await errorOf(registry.createJoinToken({ service: 'a' }))).toBeInstanceOf(StorageError)
})
