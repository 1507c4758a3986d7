import { request } from 'undici'
import { describe, expect, it } from 'vitest'
import { makeDispatcher } from '../../../src/client/http/dispatcher/dispatcher.ts'

import { always } from '../../rigs/scripted-server.ts'
import { opened, rigOver, serve } from './opened.ts'

/** How often each door tries a POST whose connection breaks behind the request. */
async function tries(headers: Record<string, string | string[]>): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  const doors = ['http', 'fetch', 'dispatcher', 'filtered'] as const
  for (const door of doors) {
    const lost = await serve(async (c) => {
      await c.request()
      c.reset()
    })
    const good = await serve(always(200, 'ok'))
    const rig = await rigOver([lost.port, good.port], {
      filters: door === 'filtered' ? [(asked, call, next) => next(asked, call)] : [],
    })
    if (door === 'fetch')
      await rig.fetch('http://inventory/', { method: 'POST', headers: headers as never }).catch(() => 0)
    else if (door === 'dispatcher') {
      const dispatcher = makeDispatcher((name) => (name === 'inventory' ? rig : undefined))
      opened({ close: () => dispatcher.close() })
      await request('http://inventory.mesh/', { method: 'POST', headers, dispatcher }).catch(() => 0)
    } else await rig.http.post('/', undefined, { headers }).catch(() => 0)
    counts[door] = rig.attempts.admitted
  }
  return counts
}

const all = (count: number) => ({ http: count, fetch: count, dispatcher: count, filtered: count })

describe('an idempotency key', () => {
  it.each<[string, Record<string, string>]>([
    ['in lower case', { 'idempotency-key': 'k-1' }],
    ['as the standard writes it', { 'Idempotency-Key': '"8e03978e"' }],
    ['that reads like its own name', { 'idempotency-key': 'idempotency-key' }],
    ['behind other headers', { 'x-a': 'idempotency-key', 'idempotency-key': 'k' }],
  ])('%s makes a POST repeatable, whichever door it came through', async (_, headers) => {
    expect(await tries(headers)).toEqual(all(2))
  })

  it.each<[string, Record<string, string>]>([
    ['without a value', { 'idempotency-key': '' }],
    ['of spaces', { 'idempotency-key': '  ' }],
    ['named by the value of another header', { 'x-signed-headers': 'idempotency-key' }],
    ['that is a part of another name', { 'x-idempotency-key': 'k' }],
  ])('%s does not', async (_, headers) => {
    expect(await tries(headers)).toEqual(all(1))
  })
})
