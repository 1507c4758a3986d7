import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { type Run, run } from './run-command.ts'

let registry: Registry

beforeEach(async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false })
})

afterEach(() => registry.close())

function command(token: string, ...args: string[]): Promise<Run> {
  return run(args, { env: { INMESH_REGISTRY: registry.url, INMESH_ADMIN_TOKEN: token, HOME: '/nonexistent' } })
}

it('makes, lists and revokes tokens of operators', async () => {
  const first = registry.adminToken!
  const alice = (await command(first, 'token', 'operator', 'create', 'alice')).stdout.trim()
  expect(alice).toMatch(/^inmesh-admin\./)
  const reader = (
    await command(alice, 'token', 'operator', 'create', 'board', '--read-only', '--ttl', '90d')
  ).stdout.trim()
  const { stdout } = await command(reader, 'token', 'operator', 'list')
  expect(stdout).toMatch(/^admin +admin +change +at the first start/m)
  expect(stdout).toMatch(/ alice +change .* never$/m)
  expect(stdout).toMatch(/ board +read .* operator:alice/m)
  expect(stdout).not.toContain(alice.split('.')[1])
  const refused = await command(reader, 'token', 'operator', 'revoke', 'admin')
  expect(refused).toMatchObject({ code: 1, stderr: 'error: operator:board may read and not change anything\n' })
  expect((await command(alice, 'token', 'operator', 'revoke', 'admin')).stdout).toBe('admin: revoked (admin)\n')
  expect((await command(first, 'get')).code).toBe(1)
  expect((await command(alice, 'audit')).stdout).toMatch(/operator:alice .*operator-revoke/)
})

it('refuses wrong flags before anything is sent', async () => {
  const first = registry.adminToken!
  for (const args of [['create'], ['create', 'a b'], ['create', 'a', '--ttl', '5'], ['create', 'a', '--ttl', 'soon']]) {
    expect((await command(first, 'token', 'operator', ...args)).code).toBe(2)
  }
  expect((await command(first, 'token', 'operator', 'revoke', 'none')).code).toBe(1)
})
