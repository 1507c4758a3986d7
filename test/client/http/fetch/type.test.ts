import { expect, it } from 'vitest'
import type { MeshFetch } from '../../../../src/client/http/fetch/fetch.ts'
import { rigWith } from '../opened.ts'

it('is a typeof fetch with further options', async () => {
  const rig = await rigWith((_request, response) => response.end('fine'))
  const fetch: MeshFetch = rig.fetch
  const standard: typeof globalThis.fetch = fetch
  expect(await (await standard('http://inventory/', { method: 'GET' })).text()).toBe('fine')
  expect((await fetch('http://inventory/', { timeout: '1s', idempotent: true })).status).toBe(200)
  // @ts-expect-error a mistyped option
  await expect(fetch('http://inventory/', { timeOut: '1s' })).rejects.toThrow("did you mean 'timeout'")
})
