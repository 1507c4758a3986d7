/** How routes read headers that are repeated or have spaces around them: alike by every door. */
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import type { Mesh } from '../../../src/index.ts'
import { Shop, type ShopClient } from '../../rigs/shop.ts'
import { type RoutedMesh, routedMesh } from './rig.ts'

type Lines = readonly (readonly [name: string, value: string])[]

async function oneOrBoth(): Promise<RoutedMesh> {
  const rig = await routedMesh([
    {
      service: 'inventory',
      routes: [
        { name: 'one', match: [{ headers: { 'x-b': '1' } }], to: { service: 'first' } },
        { name: 'both', match: [{ headers: { 'x-b': '1, 2' } }], to: { service: 'both' } },
        { name: 'many', match: [{ headers: { 'x-b': { regex: '1, .*, 3' } } }], to: { service: 'many' } },
        { name: 'cookies', match: [{ headers: { cookie: 'a=1; b=2' } }], to: { service: 'both' } },
      ],
    },
  ])
  for (const service of ['inventory', 'first', 'both', 'many']) await rig.instance(service, service)
  return rig
}

const HTTP_DOORS: Readonly<Record<string, (mesh: Mesh, lines: Lines) => Promise<string>>> = {
  'mesh.http': async (mesh, lines) => (await mesh.http('inventory').get('/', { headers: lines })).text(),
  'mesh.http with a list': async (mesh, lines) => {
    const headers = { [lines[0]![0]]: lines.map(([, value]) => value) }
    return (await mesh.http('inventory').get('/', { headers })).text()
  },
  'mesh.http with Headers': async (mesh, lines) =>
    (await mesh.http('inventory').get('/', { headers: new Headers(lines as [string, string][]) })).text(),
  'mesh.fetch': async (mesh, lines) =>
    (await mesh.fetch('http://inventory/', { headers: lines as [string, string][] })).text(),
  'the dispatcher': async (mesh, lines) => {
    const request = { origin: 'http://inventory.mesh', path: '/', method: 'GET', headers: lines.flat() } as const
    return (await mesh.dispatcher().request(request)).body.text()
  },
}

async function byGrpc(mesh: Mesh, lines: Lines): Promise<string> {
  const metadata = new grpc.Metadata()
  for (const [name, value] of lines) metadata.add(name, value)
  const shop = mesh.grpc(Shop, 'inventory') as unknown as ShopClient
  return new Promise((resolve, reject) => {
    shop.get({ sku: 'a' }, metadata, (error, stock) => (error === null ? resolve(stock!.sku!) : reject(error)))
  })
}

const CASES: readonly [values: readonly string[], service: string][] = [
  [['1'], 'first'],
  [[' 1\t'], 'first'],
  [['1', '2'], 'both'],
  [['1 ', ' 2'], 'both'],
  [['2', '1'], 'inventory'],
  [['1', '2', '3'], 'many'],
]

describe('a route reads all values of a header, joined and trimmed', () => {
  it.each(Object.entries(HTTP_DOORS))('of %s', async (_door, ask) => {
    const rig = await oneOrBoth()
    const checkout = await rig.test.join('checkout')
    for (const [values, service] of CASES) {
      const lines = values.map((value) => ['x-b', value] as const)
      expect([values, await ask(checkout, lines)]).toEqual([values, service])
    }
    const cookies = [
      ['cookie', 'a=1'],
      ['cookie', 'b=2'],
    ] as const
    expect(await ask(checkout, cookies)).toBe('both')
  })

  it('of gRPC metadata', async () => {
    const rig = await oneOrBoth()
    const checkout = await rig.test.join('checkout')
    for (const [values, service] of CASES) {
      // Metadata takes no tabs.
      const lines = values.map((value) => ['x-b', value.replace('\t', ' ')] as const)
      expect([values, await byGrpc(checkout, lines)]).toEqual([values, service])
    }
  })

  it('of requests to explain', async () => {
    const rig = await oneOrBoth()
    const checkout = await rig.test.join('checkout')
    const { route } = await checkout.explain({ service: 'inventory', headers: { 'x-b': ' 1 ' } })
    expect(route).toBe('one')
  })
})
