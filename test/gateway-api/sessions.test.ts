/** `sessionPersistence` end to end (GEP-1619): a session stays with the endpoint that began it. */
import { describe, expect, it } from 'vitest'
import type { Mesh } from '../../src/index.ts'
import { until } from '../client/http/rig.ts'
import { type Answered, type Protocol, type RoutedMesh, routedMesh } from '../client/routes/rig.ts'
import { grpcRoute, httpRoute, to } from './manifests.ts'

const manifestOf = { http: httpRoute, grpc: grpcRoute }
const byHeader = { type: 'Header', header: { name: 'X-Session' } }
const split = (blue: number, green: number, sessionPersistence: object) => ({
  backendRefs: [to('blue', { weight: blue }), to('green', { weight: green })],
  sessionPersistence,
})

interface Sessions {
  readonly rig: RoutedMesh
  readonly caller: Mesh
  ask(headers?: Readonly<Record<string, string>>): Promise<Answered>
}

/** Two instances of each of `blue` and `green`. */
async function sessions(
  protocol: Protocol,
  rule: Readonly<Record<string, unknown>>,
): Promise<Sessions & { instances: Map<string, Mesh> }> {
  const rig = await routedMesh([])
  const instances = new Map<string, Mesh>()
  for (const service of ['blue', 'green']) {
    for (const name of [`${service}-1`, `${service}-2`]) instances.set(name, await rig.instance(service, name))
  }
  await rig.test.apply([manifestOf[protocol]('sessions', [rule])])
  const caller = await rig.test.join('shop')
  return { rig, caller, instances, ask: (headers = {}) => rig.ask(caller, protocol, 'echo', { headers }) }
}

describe.each<Protocol>(['http', 'grpc'])('sessions of %s by a header', (protocol) => {
  it('stay with their endpoint', async () => {
    const { ask } = await sessions(protocol, split(1, 1, byHeader))
    const begun = new Set<string>()
    for (let i = 0; i < 8; i++) {
      const first = await ask()
      const session = first.headers.get('x-session')!
      expect(session).toBeTruthy()
      begun.add(first.by.replace(/-\d$/, ''))
      for (let j = 0; j < 4; j++) expect((await ask({ 'x-session': session })).by).toBe(first.by)
    }
    // Turns by weight are exact, and calls of a session take none.
    expect(begun).toEqual(new Set(['blue', 'green']))
  })

  it('keep their backend also when its weight becomes 0, and new ones go elsewhere', async () => {
    const { rig, ask } = await sessions(protocol, split(1, 0, byHeader))
    const first = await ask()
    const session = first.headers.get('x-session')!
    await rig.test.apply([manifestOf[protocol]('sessions', [split(0, 1, byHeader)])])
    expect((await ask({ 'x-session': session })).by).toBe(first.by)
    expect((await ask()).by).toMatch(/^green-/)
  })

  it('move when their endpoint leaves, and stay where they moved', async () => {
    const { ask, instances } = await sessions(protocol, split(1, 0, byHeader))
    const first = await ask()
    const session = first.headers.get('x-session')!
    await instances.get(first.by)!.close()
    await until(async () => (await ask({ 'x-session': session })).by !== first.by)
    const moved = await ask({ 'x-session': session })
    const next = moved.headers.get('x-session')!
    expect(next).not.toBe(session)
    for (let i = 0; i < 4; i++) expect((await ask({ 'x-session': next })).by).toBe(moved.by)
  })

  it('begin anew with a token that is none of ours', async () => {
    const { ask } = await sessions(protocol, split(1, 1, byHeader))
    for (const token of ['', 'x', 'a.b', `${'A'.repeat(500)}.b.c`, 'Z3JlZW4.bm9ib2R5.1']) {
      expect((await ask({ 'x-session': token })).headers.get('x-session')).not.toBe(token)
    }
  })
})

describe('sessions by a cookie', () => {
  it('are told by Set-Cookie once, and kept by the cookie', async () => {
    const persistence = { cookie: { name: 'stay' } }
    const { ask } = await sessions('http', split(1, 1, persistence))
    const first = await ask()
    const line = first.headers.get('set-cookie')!
    expect(line).toMatch(/^stay=[\w.-]+; Path=\/; HttpOnly; SameSite=Strict$/)
    const cookie = `other=1; ${line.split(';')[0]}`
    for (let i = 0; i < 4; i++) {
      const again = await ask({ cookie })
      expect([again.by, again.headers.has('set-cookie')]).toEqual([first.by, false])
    }
  })

  it('outlive the browser if the manifest says so', async () => {
    const persistence = { cookie: { name: 'stay', lifetimeType: 'Permanent', path: '/items' }, absoluteTimeout: '2h' }
    const { ask } = await sessions('http', split(1, 1, persistence))
    expect((await ask()).headers.get('set-cookie')).toMatch(/; Path=\/items; Max-Age=7200; HttpOnly/)
  })
})
