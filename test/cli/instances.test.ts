/** Operators manage instances by the command, against a registry over TLS. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { instance } from '../rigs/instance.ts'
import { TestSession } from '../rigs/registry-session.ts'
import { type Run, run } from './run-command.ts'

let registry: Registry
let session: TestSession

beforeEach(async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false })
  session = await TestSession.open(registry, 'stock')
  await session.ask({ type: 'register', instance: instance('stock', 'a', { port: 1001 }) })
})

afterEach(async () => {
  session.close()
  await registry.close()
})

function command(...args: string[]): Promise<Run> {
  const env = { INMESH_REGISTRY: registry.url, INMESH_ADMIN_TOKEN: registry.adminToken, HOME: '/nonexistent' }
  return run(args, { env })
}

describe('inmesh instances', () => {
  it('disables, enables and weighs an instance, says what is already so, and lists it', async () => {
    expect((await command('instances', 'disable', 'stock', 'a')).stdout).toBe('stock a: disabled, weight 100\n')
    expect((await command('instances', 'disable', 'stock', 'a')).stdout).toBe('stock a: already disabled, weight 100\n')
    expect((await command('instances', 'weight', 'stock', 'a', '5')).stdout).toBe(
      'stock a: disabled, weight 5 (its own: 100)\n',
    )
    expect((await command('instances', 'stock')).stdout).toMatch(/ a .*disabled .*5 \(own 100\)/)
    expect((await command('instances', 'enable', 'stock', 'a')).stdout).toContain('enabled, weight 5')
    const { stdout } = await command('instances', 'weight', 'stock', 'a', 'own', '--json')
    expect(JSON.parse(stdout)).toMatchObject({ id: 'a', weight: 100, disabled: false, changed: true })
    expect((await command('audit')).stdout).toMatch(/admin .*instance-disable .*stock .*a at /)
  })

  it('fails with one clear error for bad input, unknown ids and a refused token', async () => {
    const wrong = await command('instances', 'weight', 'stock', 'a', '1001')
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringMatching(/weight.*1000/s)])
    expect((await command('instances', 'disable', 'stock')).code).toBe(2)
    const unknown = await command('instances', 'disable', 'stock', 'b')
    expect([unknown.code, unknown.stderr]).toEqual([1, "error: 'stock' has no instance 'b'\n"])
    await session.ask({ type: 'register', instance: instance('stock', 'stock-1f2e', { port: 1002 }) })
    const part = await command('instances', 'disable', 'stock', 'stock-1')
    expect([part.code, part.stderr]).toEqual([
      1,
      "error: 'stock' has no instance 'stock-1'; did you mean 'stock-1f2e'?\n",
    ])
    const typo = await command('instances', 'disabel', 'stock', 'a')
    expect([typo.code, typo.stderr]).toEqual([2, expect.stringMatching(/; did you mean 'disable'\?\n$/)])
    const bad = `inmesh-admin.${'A'.repeat(27)}.${registry.rootFingerprint}`
    const refused = await command('instances', 'disable', 'stock', 'a', '--token', bad, '--json')
    expect(refused.code).toBe(1)
    expect(JSON.parse(refused.stderr).error.code).toBe('admin-required')
  })
})

describe('inmesh release', () => {
  it('is content with a service that is not frozen, and refuses one that does not exist', async () => {
    expect(await command('release', 'stock')).toMatchObject({ code: 0, stdout: 'stock: is not frozen\n' })
    expect(await command('release', 'nowhere')).toMatchObject({
      code: 1,
      stderr: "error: there is no service 'nowhere'\n",
    })
  })

  it('removes at once what a freeze keeps', async () => {
    await registry.close()
    registry = await startRegistry({ port: 0, memory: true, log: false, lease: 300 })
    const silent = await Promise.all(['a', 'b', 'c', 'd'].map(() => TestSession.open(registry, 'stock')))
    for (const [i, one] of silent.entries()) {
      await one.ask({ type: 'register', instance: instance('stock', `i${i}`, { port: 1_001 + i }) })
    }
    for (const one of silent) one.silence()
    const frozen = async () => JSON.parse((await command('services', '--json')).stdout).services[0].frozen
    await expect.poll(frozen).toBe(true)
    expect(await command('release', 'stock')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/released, [1-4] removed/),
    })
    // Those whose leases end a moment later may freeze it again.
    const left = async (): Promise<string> => {
      await command('release', 'stock')
      return (await command('instances', 'stock')).stdout
    }
    await expect.poll(left).not.toMatch(/ i[0-3] /)
    expect(await frozen()).toBe(false)
    expect((await command('audit')).stdout).toMatch(/admin .*release .*stock .*[1-4] expired/)
    for (const one of silent) one.close()
  })

  it('says that no registry answers', async () => {
    const { url } = registry
    session.close()
    await registry.close()
    const env = { INMESH_REGISTRY: url, HOME: '/nonexistent' }
    expect((await run(['release', 'stock'], { env })).code).toBe(3)
    expect((await run(['instances', 'enable', 'stock', 'a'], { env })).code).toBe(3)
  })
})
