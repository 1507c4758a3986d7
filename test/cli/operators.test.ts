import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { LeapingClock } from '../rigs/leaping-clock.ts'
import { type Run, run } from './run-command.ts'

let registry: Registry
let clock: LeapingClock

beforeEach(async () => {
  clock = new LeapingClock(0)
  registry = await startRegistry({ port: 0, memory: true, log: false, clock })
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

it('rotates a token: the former one ends at once or after the overlap, rights and end stay', async () => {
  const first = registry.adminToken!
  const made = JSON.parse(
    (await command(first, 'token', 'operator', 'create', 'board', '--read-only', '--ttl', '90d', '--json')).stdout,
  )
  const rotated = JSON.parse((await command(first, 'token', 'operator', 'rotate', made.id, '--json')).stdout)
  expect(rotated).toMatchObject({ name: 'board', access: 'read', expiresAt: made.expiresAt })
  expect((await command(made.token, 'get')).code).toBe(1)
  expect((await command(rotated.token, 'get')).code).toBe(0)
  const next = (await command(first, 'token', 'operator', 'rotate', rotated.id, '--overlap', '10m')).stdout.trim()
  for (const token of [rotated.token, next]) expect((await command(token, 'get')).code).toBe(0)
  clock.pass(600_001)
  expect((await command(rotated.token, 'get')).code).toBe(1)
  expect((await command(next, 'get')).code).toBe(0)
  expect((await command(first, 'audit')).stdout).toMatch(/operator-rotate .*of board, the former one until/)
})

it('rotates the first admin token, and its file', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'inmesh-operators-'))
  const stored = await startRegistry({ port: 0, dataDir: directory, log: false })
  try {
    const file = (): string => readFileSync(join(directory, 'admin-token'), 'utf8').trim()
    const at = ['--registry', stored.url, '--data-dir', directory]
    const before = file()
    const text = (await run(['token', 'operator', 'rotate', 'admin', ...at], { env: {} })).stdout.trim()
    expect(file()).toBe(text)
    expect(text).not.toBe(before)
    expect((await run(['get', ...at], { env: {} })).code).toBe(0)
    const old = ['--registry', stored.url, '--token', before]
    expect((await run(['get', ...old], { env: {} })).code).toBe(1)
    expect((await run(['token', 'operator', 'rotate', 'nobody', ...at], { env: {} })).code).toBe(1)
  } finally {
    await stored.close()
    rmSync(directory, { recursive: true })
  }
})
