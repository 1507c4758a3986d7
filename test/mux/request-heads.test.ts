import { describe, expect, test } from 'vitest'
import { data, END, type Fields, frame, type RequestParts, request, TYPE, trailers } from './raw-mux.ts'
import { Victim } from './victim.ts'

const HOST = ['host', 'inventory'] as const

test('a request arrives with its method, path, headers and body', async () => {
  const victim = await Victim.settled('server')
  await victim.send(
    request(1, { method: 'POST', path: '/a?b=1', headers: [HOST, ['x-a', '1'], ['x-a', 'é']], body: 'hello' }),
  )
  expect(victim.log).toEqual(['request POST /a?b=1 host=inventory x-a=1 x-a=é', 'data 5 end'])
})

test.each<[string, RequestParts, string]>([
  ['a method that is no token', { method: 'GE T' }, 'an invalid method'],
  ['a method in lower case', { method: 'get' }, 'an invalid method'],
  ['no method', { method: '' }, 'an invalid method'],
  ['CONNECT', { method: 'CONNECT' }, 'an invalid method'],
  ['a method beyond the table', { method: 200 }, 'an invalid method'],
  ['no path', { path: '' }, 'an invalid path'],
  ['a path that does not begin with a slash', { path: 'a' }, 'an invalid path'],
  ['a whole URL', { path: 'http://evil/' }, 'an invalid path'],
  ['a path with a space', { path: '/a b' }, 'an invalid path'],
  ['a path with a line end', { path: '/a\r\nx: 1' }, 'an invalid path'],
  ['a path with a fragment', { path: '/a#b' }, 'an invalid path'],
  ['a star that is no OPTIONS', { path: '*' }, 'an invalid path'],
  ['a name in upper case', { headers: [HOST, ['X-A', '1']] }, 'an invalid name of a header'],
  ['a name with a colon', { headers: [HOST, [':path', '/b']] }, 'an invalid name of a header'],
  ['a name with a line end', { headers: [HOST, ['a\n', '1']] }, 'an invalid name of a header'],
  ['an empty name', { headers: [HOST, ['', '1']] }, 'an invalid name of a header'],
  ['a name beyond the table', { headers: [HOST, [250, '1']] }, 'an invalid name of a header'],
  ['a value with a line end', { headers: [HOST, ['a', '1\r\nb: 2']] }, 'an invalid value of a'],
  ['a value with a zero byte', { headers: [HOST, ['a', '1\0']] }, 'an invalid value of a'],
  ['a value that begins with a space', { headers: [HOST, ['a', ' 1']] }, 'an invalid value of a'],
  ['a value that ends with a tab', { headers: [HOST, ['a', '1\t']] }, 'an invalid value of a'],
  ['connection', { headers: [HOST, ['connection', 'close']] }, 'the header connection'],
  ['keep-alive', { headers: [HOST, ['keep-alive', 'timeout=5']] }, 'the header keep-alive'],
  ['proxy-connection', { headers: [HOST, ['proxy-connection', 'close']] }, 'the header proxy-connection'],
  ['transfer-encoding', { headers: [HOST, ['transfer-encoding', 'chunked']] }, 'the header transfer-encoding'],
  ['upgrade', { headers: [HOST, ['upgrade', 'websocket']] }, 'the header upgrade'],
  ['te', { headers: [HOST, ['te', 'gzip']] }, 'an invalid value of te'],
  ['two hosts', { headers: [HOST, HOST] }, 'several host headers'],
  ['a length that is no number', { headers: [HOST, ['content-length', '+1']] }, 'an invalid value of content-length'],
  ['a length without digits', { headers: [HOST, ['content-length', '']] }, 'an invalid value of content-length'],
  [
    'two lengths',
    { headers: [HOST, ['content-length', '0'], ['content-length', '0']] },
    'several content-length headers',
  ],
  ['a length with no body', { headers: [HOST, ['content-length', '1']] }, 'a body of 0 bytes instead of 1'],
  [
    'a length with a longer body',
    { headers: [HOST, ['content-length', '1']], body: 'ab' },
    'a body longer than its 1 bytes',
  ],
])('a request with %s is reset, and no handler sees it', async (_what, parts, reason) => {
  const victim = await Victim.settled('server')
  await victim.send(request(1, parts), request(2))
  expect(victim.log).toEqual(['request GET / host=inventory end'])
  expect(victim.said()).toEqual([`reset 1 3: the request has ${reason}`])
  expect(victim.broken).toBe(undefined)
})

test.each<[string, RequestParts]>([
  ['an asterisk', { method: 'OPTIONS', path: '*' }],
  ['te: trailers', { headers: [HOST, ['te', 'trailers']] }],
  ['a method of its own', { method: 'PROPFIND' }],
  ['the length of its body', { headers: [HOST, ['content-length', '2']], body: 'ab' }],
  ['an empty value', { headers: [HOST, ['a', '']] }],
  ['a length of 0', { headers: [HOST, ['content-length', '0']] }],
])('a request with %s is served', async (_what, parts) => {
  const victim = await Victim.settled('server')
  await victim.send(request(1, parts))
  expect(victim.log[0]).toMatch(/^request/)
  expect(victim.said()).toEqual([])
})

test('headers beyond the limit reset the request', async () => {
  const victim = await Victim.settled('server', { maxHeaders: 3 })
  const four: Fields = [HOST, ['a', '1'], ['b', '1'], ['c', '1']]
  await victim.send(request(1, { headers: four }), request(2, { headers: four.slice(1) }))
  expect(victim.log).toEqual(['request GET / a=1 b=1 c=1 end'])
  expect(victim.said()).toEqual(['reset 1 5: the request has 4 headers, at most 3'])
})

describe('a body that contradicts content-length', () => {
  const announced = (length: string): Buffer =>
    request(1, { method: 'POST', headers: [HOST, ['content-length', length]], flags: 0 })

  test('is cut where it becomes longer', async () => {
    const victim = await Victim.settled('server')
    await victim.send(announced('4'), data(1, 'abc'), data(1, 'def', END))
    expect(victim.log.slice(1)).toEqual(['data 3', 'reset 3: the request has a body longer than its 4 bytes'])
    expect(victim.said()).toEqual(['reset 1 3: the request has a body longer than its 4 bytes'])
    expect(victim.session.open).toBe(0)
  })

  test('is no end where it is shorter', async () => {
    const victim = await Victim.settled('server')
    await victim.send(announced('4'), data(1, 'abc', END))
    expect(victim.log.slice(1)).toEqual(['reset 3: the request has a body of 3 bytes instead of 4'])
  })

  test('is no end by trailers, either', async () => {
    const victim = await Victim.settled('server')
    await victim.send(announced('4'), data(1, 'abc'), trailers(1))
    expect(victim.log.slice(1)).toEqual(['data 3', 'reset 3: the request has a body of 3 bytes instead of 4'])
  })
})

test.each<[string, Fields, string]>([
  ['content-length', [['content-length', '3']], 'the trailer content-length'],
  ['host', [['host', 'a']], 'the trailer host'],
  ['transfer-encoding', [['transfer-encoding', 'chunked']], 'the header transfer-encoding'],
  ['a value with a line end', [['x-a', '\n']], 'an invalid value of x-a'],
])('trailers with %s reset the request', async (_what, list, reason) => {
  const victim = await Victim.settled('server')
  await victim.send(request(1, { method: 'POST', flags: 0 }), trailers(1, list))
  expect(victim.said()).toEqual([`reset 1 3: the request has ${reason}`])
})

test.each<[string, Buffer]>([
  ['a head that ends early', frame(TYPE.request, END, 1, Buffer.from([1, 0, 9, 0x2f]))],
  ['fewer fields than it counts', frame(TYPE.request, END, 1, Buffer.from([1, 0, 1, 0x2f, 0, 9]))],
  ['an unknown flag', request(1, { flags: 64 })],
])('a frame with %s ends the connection', async (_what, bytes) => {
  const victim = await Victim.settled('server')
  await victim.send(bytes, request(2))
  expect(victim.log.filter((line) => line.startsWith('request'))).toEqual([])
  expect(victim.broken).not.toBe(undefined)
  expect(victim.said()[0]).toMatch(/^goAway 1: /)
})
