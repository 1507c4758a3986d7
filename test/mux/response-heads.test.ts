import { expect, test } from 'vitest'
import { data, END, type Fields, frame, response, TYPE, trailers } from './raw-mux.ts'
import { Victim } from './victim.ts'

async function asked(method = 'GET'): Promise<Victim> {
  const victim = await Victim.settled('client')
  victim.ask(method)
  return victim
}

test('a response arrives with its status, headers, body and trailers', async () => {
  const victim = await asked()
  await victim.send(
    response(1, 103, { headers: [['link', 'a']], flags: 0 }),
    response(1, 200, { headers: [['x-a', '1']], body: 'ab', flags: 0 }),
    data(1, 'cd'),
    trailers(1, [['x-end', '1']]),
  )
  expect(victim.log).toEqual(['response 103 link=a', 'response 200 x-a=1', 'data 2', 'data 2', 'trailers x-end=1'])
  expect(victim.session.open).toBe(0)
})

test.each<[string, Buffer, string]>([
  ['a status below 100', response(1, 99), 'an invalid status'],
  ['a status above 999', response(1, 1_000), 'an invalid status'],
  ['101', response(1, 101, { flags: 0 }), 'an invalid status'],
  ['an informational status that ends', response(1, 103), 'an informational status that ends it'],
  ['an informational status with a body', response(1, 103, { body: 'a', flags: 0 }), 'a body with the status 103'],
  ['204 with a body', response(1, 204, { body: 'a' }), 'a body with the status 204'],
  ['304 with a body', response(1, 304, { body: 'a' }), 'a body with the status 304'],
  ['a connection header', response(1, 200, { headers: [['connection', 'close']] }), 'the header connection'],
  ['transfer-encoding', response(1, 200, { headers: [['transfer-encoding', 'a']] }), 'the header transfer-encoding'],
  [
    'a length with another body',
    response(1, 200, { headers: [['content-length', '1']], body: 'ab' }),
    'a body longer than its 1 bytes',
  ],
  ['a length and no body', response(1, 200, { headers: [['content-length', '1']] }), 'a body of 0 bytes instead of 1'],
  ['a value with a line end', response(1, 200, { headers: [['a', 'b\nc']] }), 'an invalid value of a'],
])('a response with %s resets its call, and no other', async (_what, bytes, reason) => {
  const victim = await asked()
  victim.ask()
  await victim.send(bytes, response(2, 200))
  expect(victim.log).toEqual([`reset 3: the response has ${reason}`, 'response 200 end'])
  expect(victim.said().filter((line) => line.startsWith('reset'))).toEqual([`reset 1 3: the response has ${reason}`])
})

test.each<[string, string, number, Fields]>([
  ['HEAD with a length', 'HEAD', 200, [['content-length', '5']]],
  ['304 with a length', 'GET', 304, [['content-length', '5']]],
  ['204', 'GET', 204, []],
])('the answer to %s has no body, and is complete', async (_what, method, status, headers) => {
  const victim = await asked(method)
  await victim.send(response(1, status, { headers }))
  expect(victim.log.at(-1)).toMatch(new RegExp(`^response ${status}.* end$`))
})

test('the answer to HEAD with a body resets the call', async () => {
  const victim = await asked('HEAD')
  await victim.send(response(1, 200, { flags: 0 }), data(1, 'a', END))
  expect(victim.log.at(-1)).toBe('reset 3: the response has a body, and the request was HEAD')
})

test('a length that does not come ends the call, and is no end of its body', async () => {
  const victim = await asked()
  await victim.send(response(1, 200, { headers: [['content-length', '5']], body: 'ab', flags: 0 }), data(1, 'c', END))
  expect(victim.log.slice(1)).toEqual(['data 2', 'reset 3: the response has a body of 3 bytes instead of 5'])
})

test.each<[string, readonly Buffer[]]>([
  ['a second final head', [response(1, 200, { flags: 0 }), response(1, 200)]],
  ['data before the head', [data(1, 'a')]],
  ['trailers before the head', [trailers(1)]],
  ['data after the end', [response(1, 200, { flags: 0 }), data(1, '', END), data(1, 'a')]],
  ['a response to no request', [response(2, 200)]],
  ['a head that ends early', [frame(TYPE.response, END, 1, Buffer.from([0]))]],
])('%s ends the connection', async (_what, frames) => {
  const victim = await Victim.settled('client')
  victim.ask('POST', '/', [], undefined, false)
  await victim.send(...frames)
  expect(victim.broken).not.toBe(undefined)
  expect(victim.said().at(-1)).toMatch(/^goAway 1: /)
  expect(victim.log.at(-1)).toMatch(/^reset/)
})
