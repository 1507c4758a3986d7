/** One connection to a registry, against servers that stop where no registry stops. */
import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { SessionConnection } from '../../../src/discovery/registry/connection.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

let server: http2.Http2Server

afterEach(() => {
  server.close()
})

async function open(answer: (stream: http2.ServerHttp2Stream) => void) {
  server = http2.createServer().on('stream', answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const clock = new FakeClock()
  const messages: string[] = []
  const rejected: string[] = []
  const closed = Promise.withResolvers<string>()
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const connection = new SessionConnection(url, {}, clock, {
    message: ({ type }) => messages.push(type),
    rejected: (reason) => rejected.push(reason),
    closed: closed.resolve,
  })
  return { clock, connection, messages, rejected, closed: closed.promise }
}

const WELCOME = { type: 'welcome', protocol: 1, epoch: 'e', leaseMs: 15_000, beatMs: 5_000, wallNow: 1, dev: true }

test('a server that accepts the session and never greets is given up', async () => {
  const answered = Promise.withResolvers<void>()
  const { clock, closed } = await open((stream) => {
    stream.respond({ ':status': 200 })
    stream.on('error', () => {})
    stream.write('{"type":"mark-of-a-newer-version"}\n', () => answered.resolve())
  })
  await answered.promise
  clock.advance(5_000)
  expect(await closed).toBe('no greeting in time')
})

test('one that has greeted is not, however little it says', async () => {
  const { clock, connection, messages, closed } = await open((stream) => {
    stream.respond({ ':status': 200 })
    stream.on('error', () => {})
    stream.write(`${JSON.stringify(WELCOME)}\n`)
  })
  await expect.poll(() => messages).toEqual(['welcome'])
  clock.advance(60_000)
  expect(connection.open).toBe(true)
  connection.close()
  expect(await closed).toBe('closed by us')
})

test('a line with a key twice, or that is no UTF-8, is refused; the session goes on', async () => {
  const { connection, messages, rejected } = await open((stream) => {
    stream.respond({ ':status': 200 })
    stream.on('error', () => {})
    stream.write(`${JSON.stringify(WELCOME)}\n`)
    stream.write('{"type":"goaway","retryAfterMs":1,"retryAfterMs":2}\n')
    stream.write(Buffer.from('{"type":"goaway","retryAfterMs":1,"why":"\xff"}\n', 'latin1'))
    stream.write('{"type":"done","ref":1,"revision":1}\n')
  })
  await expect.poll(() => messages).toEqual(['welcome', 'done'])
  expect(rejected).toEqual(["the key 'retryAfterMs' is there twice", 'not UTF-8'])
  connection.close()
})
