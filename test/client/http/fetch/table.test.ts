/** `mesh.fetch` beside the built-in one: the same input, the same server, the same observation. */
import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import type { MeshFetchInit } from '../../../../src/client/http/fetch/init.ts'
import { type Door, doors, observe } from './doors.ts'
import { INIT_ROWS, REQUEST_ROWS } from './request-rows.ts'
import { RESPONSE_ROWS } from './response-rows.ts'

/** Where a mesh differs on purpose: see docs/options.md. */
const DIFFERENT: [name: string, run: (door: Door) => unknown, mesh: unknown, builtIn: unknown][] = [
  ['redirects are returned', async (door) => (await door.fetch('/moved')).status, 302, 200],
  [
    "and so 'follow' is refused",
    (door) => observe(async () => (await door.fetch('/moved', { redirect: 'follow' })).status),
    'throws TypeError',
    200,
  ],
  ['methods are in capitals', async (door) => (await door.fetch('/hello', { method: 'patch' })).status, 200, 400],
  [
    'the headers of an answer may be changed',
    (door) =>
      observe(async () => {
        const { headers } = await door.fetch('/hello')
        headers.set('x-gateway', 'yes')
        return headers.get('x-gateway')
      }),
    'yes',
    'throws TypeError',
  ],
  [
    'failures are a MeshError',
    (door) => observe(async () => (await door.fetch('/broken')).text()),
    'throws MeshError',
    'throws TypeError',
  ],
  [
    'the built-in methods know only their own objects',
    (door) => observe(async () => Response.prototype.text.call(await door.fetch('/hello'))),
    'throws TypeError',
    'hello',
  ],
  ...Object.entries<unknown>({
    integrity: 'nonsense',
    mode: 'no-cors',
    referrer: 'http://elsewhere/',
    priority: 'high',
    headers: { 'x-a': null },
    keepalive: 'yes',
    unknown: 1,
    timout: '1s',
  }).map(([key, value]): (typeof DIFFERENT)[number] => [
    `${key}: ${inspect(value)} is refused`,
    (door) => observe(async () => (await door.fetch('/hello', { [key]: value } as MeshFetchInit)).ok),
    'throws TypeError',
    true,
  ]),
]

describe('mesh.fetch and the built-in fetch', () => {
  it.each([...REQUEST_ROWS, ...INIT_ROWS, ...RESPONSE_ROWS])('agree: %s', async (_, run) => {
    const { mesh, builtIn } = await doors()
    const [own, theirs] = [await observe(() => run(mesh)), await observe(() => run(builtIn))]
    expect(own).toEqual(theirs)
  })

  it.each(DIFFERENT)('differ: %s', async (_, run, own, theirs) => {
    const { mesh, builtIn } = await doors()
    expect([await run(mesh), await run(builtIn)]).toEqual([own, theirs])
  })
})
