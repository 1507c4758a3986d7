/** What a caller of HTTP learns from a peer that resets its stream before the answer is whole. */
import { describe, expect, it } from 'vitest'
import { RESET, type ResetCode } from '../../../src/mux/wire.ts'
import { failure } from '../http/opened.ts'
import { answer, clientOf, peer } from './peers.ts'

const LEARNS: [keyof typeof RESET, string][] = [
  ['NO_ERROR', 'protocol-error'],
  ['CANCELLED', 'connection-lost'],
  ['PROTOCOL_ERROR', 'protocol-error'],
  ['INTERNAL_ERROR', 'connection-lost'],
  ['HEAD_TOO_LARGE', 'protocol-error'],
]

describe.each(LEARNS)('a reset with %s', (name, code) => {
  const reset: ResetCode = RESET[name]

  it('before the answer fails the call, which may have been executed', async () => {
    const there = await peer((stream) => stream.reset(reset))
    const rig = await clientOf([there.port])
    const error = await failure(rig.http.post('/', 'body'))
    expect(error).toMatchObject({ code, sent: true })
    expect(error.attempts).toHaveLength(1)
    expect(String(error.cause)).toContain(name)
    expect(there.executed).toEqual(['/'])
  })

  it('before the answer is tried again only if the call is idempotent, and the connection stays', async () => {
    let asked = 0
    const there = await peer((stream) => {
      asked += 1
      if (asked === 1) stream.reset(reset)
      else answer(stream)
    })
    const rig = await clientOf([there.port])
    expect(await (await rig.http.get('/')).text()).toBe('ok')
    expect([asked, there.connections.length]).toEqual([2, 1])
  })

  it('within the answer fails its reader', async () => {
    const there = await peer((stream) => {
      stream.respond(200, '', [], 'part', false)
      setImmediate(() => stream.reset(reset))
    })
    const rig = await clientOf([there.port], { retry: { attempts: 1 } })
    const error = await failure(rig.http.post('/', 'body').then((begun) => begun.text()))
    expect(error).toMatchObject({ code, sent: true })
  })
})

it('a reset that claims not to have executed what was answered repeats no call', async () => {
  const there = await peer((stream) => {
    stream.respond(200, '', [], 'part', false)
    stream.reset(RESET.NOT_EXECUTED)
  })
  const rig = await clientOf([there.port])
  const error = await failure(rig.http.post('/', 'body').then((begun) => begun.text()))
  expect(error).toMatchObject({ code: 'protocol-error', sent: true })
  expect(there.executed).toEqual(['/'])
})

it('an answer that breaks a rule is not said to be reset by the peer', async () => {
  const there = await peer((stream) => stream.respond(200, '', ['content-length', '5'], 'four', true))
  const rig = await clientOf([there.port])
  const error = await failure(rig.http.post('/', 'body').then((begun) => begun.text()))
  expect(error.message).toMatch(/malformed: the response has a body of 4 bytes instead of 5/)
})

it('a reset with NO_ERROR after a whole answer leaves it whole', async () => {
  const there = await peer((stream) => {
    answer(stream)
    stream.reset(RESET.NO_ERROR)
  })
  const rig = await clientOf([there.port])
  const endless = new ReadableStream({ pull: (source) => source.enqueue(new Uint8Array(100)) }, { highWaterMark: 0 })
  expect(await (await rig.http.post('/', endless)).text()).toBe('ok')
})
