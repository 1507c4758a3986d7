/** Taps of an operator at one registry see the sessions of all, within bounds. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { runCli } from '../../../src/cli/program.ts'
import { FakeTerminal } from '../../rigs/fake-terminal.ts'
import { type Member, TestFleet } from '../../rigs/fleet.ts'
import { instance } from '../../rigs/instance.ts'
import type { TestSession } from '../../rigs/registry-session.ts'

let fleet: TestFleet
let first: Member
let second: Member
let stock: TestSession

beforeEach(async () => {
  fleet = new TestFleet()
  first = await fleet.start()
  second = await fleet.start()
  stock = await fleet.session(first, 'inventory', { tap: true, process: 'i1' })
  await stock.ask({ type: 'register', instance: instance('inventory', 'a', { port: 1_001 }) })
})
afterEach(() => fleet.close())

function tap(...args: string[]) {
  const terminal = new FakeTerminal({ INMESH_REGISTRY: first.registry.url, HOME: '/nonexistent' })
  const code = runCli(['tap', 'inventory', ...args, '--json'], terminal.context)
  const records = (): Record<string, unknown>[] =>
    terminal.text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line))
  return { terminal, code, records, begun: () => expect.poll(records).not.toEqual([]) }
}

const call = (path: string, more: object = {}) => ({
  ...{ at: 1, to: 'inventory', protocol: 'http', method: 'GET', path, status: 200, ms: 1, attempts: 1 },
  ...more,
})

describe('a tap', () => {
  test('shows calls that processes at other registries send, and ends there', async () => {
    const here = await fleet.session(first, 'checkout', { tap: true, process: 'p1' })
    const there = await fleet.session(second, 'checkout', { tap: true, process: 'p2' })
    const old = await fleet.session(second, 'checkout', { process: 'p3' })
    const watched = tap('--from', 'checkout', '--max', '3')
    await watched.begun()
    expect(watched.records()[0]).toMatchObject({
      ...{ processes: 2, notTappable: ['checkout p3'], unreachable: [] },
      registries: expect.arrayContaining(['r1', 'r2']),
    })
    const { tap: id } = await here.next('tap')
    expect((await there.next('tap')).tap).toBe(id)
    // Neither of a stranger, nor of one that was not asked.
    old.send({ type: 'tapped', tap: id, calls: [call('/stranger')] })
    here.send({ type: 'tapped', tap: 'another', calls: [call('/another')] })
    here.send({ type: 'tapped', tap: id, calls: [call('/here')], left: 4 })
    await expect.poll(() => watched.records().length).toBe(2)
    there.send({ type: 'tapped', tap: id, calls: [call('/there/1'), call('/there/2'), call('/there/3')] })
    expect(await watched.code).toBe(0)
    expect(watched.records().slice(1)).toMatchObject([
      { type: 'call', from: 'checkout', process: 'checkout p1', path: '/here' },
      { type: 'call', from: 'checkout', process: 'checkout p2', path: '/there/1' },
      { type: 'call', path: '/there/2' },
      { type: 'end', why: 'max', calls: 3, left: expect.any(Number) },
    ])
    expect(await here.next('untap')).toMatchObject({ tap: id })
    expect(await there.next('untap')).toMatchObject({ tap: id })
  })

  test('asks a process when it begins to watch the service', async () => {
    const watched = tap()
    await watched.begun()
    const late = await fleet.session(second, 'cart', { tap: true, process: 'p9' })
    late.send({ type: 'watch', service: 'inventory' })
    expect(await late.next('tap')).toMatchObject({ service: 'inventory' })
    await stock.next('tap')
    await fleet.kill(first)
    expect(await watched.code).not.toBe(0)
    // No operator fetches any more.
    expect(await late.next('untap')).toBeDefined()
  })

  test('refuses a message with a mistake, and goes on', async () => {
    const session = await fleet.session(first, 'checkout', { tap: true, process: 'p1' })
    const watched = tap('--from', 'checkout', '--max', '1')
    const { tap: id } = await session.next('tap')
    session.send({ type: 'tapped', tap: id, calls: [call('/x', { ms: -1 })] })
    expect((await session.next('error')).message).toMatch(/^ms: expected/)
    session.send({ type: 'tapped', tap: id, calls: [call('/good')] })
    expect(await watched.code).toBe(0)
    expect(watched.records().filter(({ type }) => type === 'call')).toMatchObject([{ path: '/good' }])
  })

  test('shows nothing that was not asked for, whatever a process sends', async () => {
    const document = { service: 'mesh', tap: { headers: ['x-tenant', 'x-user'] } }
    expect(await fleet.ask(first, '/v1/policies/mesh', 'PUT', document)).toMatchObject({ status: 200 })
    const liar = await fleet.session(first, 'checkout', { tap: true, process: 'p1' })
    const watched = tap('--method', 'GET', '--status', '5xx', '--header', 'x-tenant', '--max', '2')
    liar.send({ type: 'watch', service: 'inventory' })
    const { tap: id } = await liar.next('tap')
    const failed = { status: 503, headers: { 'x-tenant': 'acme', 'x-user': 'ann' } }
    liar.send({
      ...{ type: 'tapped', tap: id },
      calls: [
        call('/served', { ...failed, side: 'server' }),
        call('/good', { status: 200 }),
        call('/none', { status: undefined }),
        call('/post', { ...failed, method: 'POST' }),
        call('/\u001b[2J\u202e', { ...failed, version: '\u009b31m', route: '\u2066' }),
        call('/second', failed),
      ],
    })
    expect(await watched.code).toBe(0)
    expect(watched.records().slice(1)).toMatchObject([
      { from: 'checkout', path: '/\\u{1b}[2J\\u{202e}', version: '\\u{9b}31m', headers: { 'x-tenant': 'acme' } },
      { from: 'checkout', path: '/second' },
      { type: 'end', why: 'max', calls: 2, left: 0 },
    ])
    expect(watched.terminal.text).not.toContain('x-user')
  })

  test('has room for each process, however much another one sends', async () => {
    const loud = await fleet.session(first, 'checkout', { tap: true, process: 'p1' })
    const quiet = await fleet.session(first, 'checkout', { tap: true, process: 'p2' })
    const watched = tap('--from', 'checkout', '--rate', '1', '--max', '10000')
    const { tap: id } = await loud.next('tap')
    await quiet.next('tap')
    const calls = Array.from({ length: 50 }, (_, i) => call(`/loud/${i}`))
    for (let i = 0; i < 20; i++) loud.send({ type: 'tapped', tap: id, calls })
    await loud.ask({ type: 'deregister', id: 'none' })
    quiet.send({ type: 'tapped', tap: id, calls: [call('/quiet')] })
    await expect.poll(() => watched.records().some(({ path }) => path === '/quiet')).toBe(true)
    expect(watched.records().filter(({ process }) => process === 'checkout p1').length).toBeLessThan(300)
    watched.terminal.breakPipe()
    expect(await watched.code).toBe(0)
  })

  test('names processes here and elsewhere that serve as many taps as they may', async () => {
    const here = await fleet.session(first, 'checkout', { tap: true, process: 'p1' })
    const there = await fleet.session(second, 'checkout', { tap: true, process: 'p2' })
    const watched = tap('--from', 'checkout', '--max', '1')
    await watched.begun()
    const { tap: id } = await here.next('tap')
    await there.next('tap')
    for (const one of [here, there]) one.send({ type: 'tapped', tap: id, calls: [], refused: true })
    const busy = () => watched.records().flatMap((one) => (one.type === 'busy' ? (one.processes as string[]) : []))
    await expect.poll(() => busy().sort()).toEqual(['checkout p1', 'checkout p2'])
    // It is not asked again, nor believed.
    here.send({ type: 'watch', service: 'inventory' })
    here.send({ type: 'tapped', tap: id, calls: [call('/late')] })
    const late = await fleet.session(first, 'checkout', { tap: true, process: 'p3' })
    await late.next('tap')
    late.send({ type: 'tapped', tap: id, calls: [call('/good')] })
    expect(await watched.code).toBe(0)
    expect(watched.records().filter(({ type }) => type === 'call')).toMatchObject([{ path: '/good' }])
    expect(here.received.filter(({ type }) => type === 'tap')).toHaveLength(1)
    expect(busy()).toHaveLength(2)
  })

  test('is one of at most three of an operator', async () => {
    const open = [tap(), tap(), tap()]
    for (const one of open) await one.begun()
    const fourth = tap()
    expect(await fourth.code).toBe(1)
    expect(fourth.terminal.errors).toContain('too many taps are open')
    for (const one of open) one.terminal.breakPipe()
    for (const one of open) expect(await one.code).toBe(0)
    await expect
      .poll(async () => {
        const again = tap('--for', '1s')
        return await again.code
      })
      .toBe(0)
  })
})
