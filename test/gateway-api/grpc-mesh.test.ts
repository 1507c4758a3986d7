/** GRPCRoutes end to end, on real sockets. Each test names the specification's case or its text. */
import { describe, expect, it } from 'vitest'
import type { Mesh } from '../../src/index.ts'
import { type Answered, type Ask, count, type RoutedMesh, routedMesh } from '../client/routes/rig.ts'
import { grpcRoute, httpRoute, to } from './manifests.ts'

class Echo {
  readonly rig: RoutedMesh
  readonly caller: Mesh

  constructor(rig: RoutedMesh, caller: Mesh) {
    this.rig = rig
    this.caller = caller
  }

  /** Calls `shop.Inventory/Get`. */
  ask(what: Ask = {}): Promise<Answered> {
    return this.rig.ask(this.caller, 'grpc', 'echo', what)
  }
}

async function echo(...manifests: readonly object[]): Promise<Echo> {
  const rig = await routedMesh([])
  for (const name of ['echo', 'echo-v1', 'echo-v2']) await rig.instance(name, name)
  await rig.test.apply(manifests)
  return new Echo(rig, await rig.test.join('shop'))
}

const v1 = { backendRefs: [to('echo-v1')] }
const v2 = { backendRefs: [to('echo-v2')] }
const method = (names: object, extras: object = {}) => ({ matches: [{ method: names, ...extras }] })

describe('matching', () => {
  it('GRPCRouteMatch: the service and the method decide before headers do', async () => {
    const headers = [{ name: 'version', value: 'two' }]
    const mesh = await echo(
      grpcRoute('method', [
        { matches: [{ headers }], ...v2 },
        { ...method({ service: 'shop.Inventory', method: 'Get' }), ...v1 },
        { ...method({ service: 'shop.Inventory' }), ...v2 },
      ]),
    )
    expect((await mesh.ask()).by).toBe('echo-v1')
    expect((await mesh.ask({ headers: { version: 'two' } })).by).toBe('echo-v1')
  })

  it('GRPCRouteMatch: headers are metadata, with names of any case', async () => {
    const headers = [{ name: 'Version', value: 'two' }]
    const mesh = await echo(grpcRoute('headers', [{ matches: [{ headers }], ...v2 }, v1]))
    expect((await mesh.ask({ headers: { version: 'two' } })).by).toBe('echo-v2')
    expect((await mesh.ask({ headers: { version: 'one' } })).by).toBe('echo-v1')
  })

  it('GRPCMethodMatch: a method of any service, and regular expressions for whole names', async () => {
    const mesh = await echo(
      grpcRoute('names', [
        { ...method({ type: 'RegularExpression', service: 'shop' }), ...v1 },
        { ...method({ method: 'Get' }), ...v2 },
      ]),
    )
    expect((await mesh.ask()).by).toBe('echo-v2')
    const other = await echo(
      grpcRoute('names', [{ ...method({ type: 'RegularExpression', service: 'shop\\..+' }), ...v1 }]),
    )
    expect((await other.ask()).by).toBe('echo-v1')
  })

  it('GRPCRouteRule: what no rule matches is UNIMPLEMENTED', async () => {
    const mesh = await echo(grpcRoute('other', [{ ...method({ service: 'shop.Prices' }), ...v1 }]))
    await expect(mesh.ask()).rejects.toMatchObject({ code: 12 })
    expect(mesh.rig.seen).toHaveLength(0)
  })

  it('GRPCRoute and HTTPRoute are not merged: each concerns its protocol', async () => {
    const mesh = await echo(grpcRoute('one', [v1]), httpRoute('one', [v2]))
    expect((await mesh.ask()).by).toBe('echo-v1')
    expect((await mesh.rig.ask(mesh.caller, 'http', 'echo')).by).toBe('echo-v2')
  })

  it('a service with routes of HTTP alone answers gRPC calls as before', async () => {
    const mesh = await echo(httpRoute('one', [v2]))
    expect((await mesh.ask()).by).toBe('echo')
  })
})

describe('backends', () => {
  it('MeshGRPCRouteWeight: shares by weight, and none for a weight of 0', async () => {
    const mesh = await echo(
      grpcRoute('weights', [
        { backendRefs: [to('echo-v1', { weight: 70 }), to('echo-v2', { weight: 30 }), to('echo', { weight: 0 })] },
      ]),
    )
    expect(count(await mesh.rig.tally(mesh.caller, 'grpc', 'echo', 100))).toEqual({ 'echo-v1': 70, 'echo-v2': 30 })
  })

  it('BackendRefs: one that does not exist keeps its share and is UNAVAILABLE at once', async () => {
    const mesh = await echo(grpcRoute('ghost', [{ backendRefs: [to('echo-v1'), to('ghost')] }]))
    const codes: unknown[] = []
    for (let i = 0; i < 10; i++) {
      codes.push(
        await mesh.ask().then(
          ({ by }) => by,
          ({ code }: { code: number }) => code,
        ),
      )
    }
    expect(codes.filter((code) => code === 14)).toHaveLength(5)
    expect(codes.filter((code) => code === 'echo-v1')).toHaveLength(5)
  })

  it('BackendRefs: none at all is UNAVAILABLE', async () => {
    const mesh = await echo(grpcRoute('none', [{}]))
    await expect(mesh.ask()).rejects.toMatchObject({ code: 14 })
  })

  it('a service may stand among its own backends', async () => {
    const mesh = await echo(grpcRoute('self', [{ backendRefs: [to('echo'), to('echo-v1')] }]))
    expect(count(await mesh.rig.tally(mesh.caller, 'grpc', 'echo', 10))).toEqual({ echo: 5, 'echo-v1': 5 })
  })
})

describe('filters', () => {
  const changes = {
    set: [{ name: 'X-Header-Set', value: 'set-overwrites-values' }],
    add: [{ name: 'X-Header-Add', value: 'add-appends-values' }],
    remove: ['X-Header-Remove'],
  }

  it('MeshGRPCRouteRequestHeaderModifier: set, add and remove metadata', async () => {
    const mesh = await echo(
      grpcRoute('headers', [{ filters: [{ type: 'RequestHeaderModifier', requestHeaderModifier: changes }], ...v1 }]),
    )
    await mesh.ask({ headers: { 'x-header-set': 'some', 'x-header-remove': 'gone', 'x-kept': '1' } })
    const [seen] = mesh.rig.seen
    expect(seen!.headers).toMatchObject({
      'x-header-set': 'set-overwrites-values',
      'x-header-add': 'add-appends-values',
      'x-kept': '1',
    })
    expect(seen!.headers).not.toHaveProperty('x-header-remove')
  })

  it('GRPCRouteFilter: the metadata of answers, of one backend', async () => {
    const filters = [
      { type: 'ResponseHeaderModifier', responseHeaderModifier: { set: [{ name: 'x-set', value: 'yes' }] } },
    ]
    const mesh = await echo(grpcRoute('answers', [{ backendRefs: [to('echo-v1', { filters }), to('echo-v2')] }]))
    for (let i = 0; i < 4; i++) {
      const { by, headers } = await mesh.ask()
      expect([by, headers.get('x-set')]).toEqual([by, by === 'echo-v1' ? 'yes' : undefined])
    }
  })
})
