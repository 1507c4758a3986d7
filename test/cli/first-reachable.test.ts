import { afterEach, expect, it } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { deadPort } from '../rigs/dead-port.ts'
import { run } from './run-command.ts'

let registry: Registry | undefined

afterEach(async () => {
  await registry?.close()
  registry = undefined
})

it('a command goes to the first of several registries that takes a connection', async () => {
  registry = await startRegistry({ port: 0, memory: true, dev: true, log: false })
  const env = { INMESH_REGISTRY: `https://127.0.0.1:${await deadPort()}, ${registry.url}` }
  const { code, stdout } = await run(['status', '--json'], { env })
  expect([code, JSON.parse(stdout).ready]).toEqual([0, true])
})

it('reports the first address when none does, and refuses each that is none', async () => {
  const dead = [await deadPort(), await deadPort()].map((port) => `https://127.0.0.1:${port}`)
  const { code, stderr } = await run(['status', '--registry', dead.join(',')])
  expect([code, stderr]).toEqual([3, expect.stringContaining(dead[0]!)])
  const wrong = await run(['status', '--registry', `${dead[0]},nonsense`])
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('"nonsense"')])
})
