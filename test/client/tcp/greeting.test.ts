/** Servers of `inmesh-tcp/1` that do not greet as they should, and what it costs their callers. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer, type TLSSocket } from 'node:tls'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { serverTlsOptions } from '../../../src/identity/tls-options.ts'
import { OPEN, readGreeting, refusal, TCP_ALPN } from '../../../src/net/tcp-greeting.ts'
import { reset } from '../../../src/server/tcp/forward.ts'
import { newAuthority, newIdentity } from '../../rigs/certificates.ts'
import { endpoint } from '../http/rig.ts'
import { clientIdentity } from '../identity-rig.ts'
import { TcpRig, type TcpRigOptions } from './rig.ts'

const authority = newAuthority()

async function rigTo(greet: (socket: TLSSocket) => void, options?: TcpRigOptions): Promise<TcpRig> {
  const tls = serverTlsOptions(newIdentity(authority, 'redis'))
  const open = new Set<TLSSocket>()
  const server = createServer({ ...tls, ALPNProtocols: [TCP_ALPN] }, (socket) => {
    open.add(socket)
    socket.on('error', () => {}).on('close', () => open.delete(socket))
    greet(socket)
  })
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    for (const socket of open) socket.destroy()
  })
  const { identity } = clientIdentity(newIdentity(authority, 'checkout'))
  const at = endpoint((server.address() as AddressInfo).port, { tls: true, service: 'redis' })
  return new TcpRig([at], { service: 'redis', identity, retry: { attempts: 1 }, ...options })
}

/** How connecting ended. */
async function ends(rig: TcpRig): Promise<string> {
  const socket = rig.connect()
  const ended = new Promise<string>((resolve) => {
    socket.once('connect', () => resolve('open'))
    socket.once('error', (error: Error & { code?: string; sent?: boolean }) => resolve(`${error.code} ${error.sent}`))
  })
  const how = await ended
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.on('error', () => {})
  if (!socket.closed) {
    socket.destroy()
    await closed
  }
  return how
}

async function leavesNothing(rig: TcpRig): Promise<void> {
  await expect.poll(() => [rig.transport.connections, rig.endpoint.pending]).toEqual([0, 0])
}

describe('a greeting', () => {
  it('reads the same, however its bytes are split, and takes no more than it says', () => {
    const said = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 400 }),
      fc.string({ maxLength: 300 }).map((text) => refusal(text)),
      fc.constant(OPEN),
    )
    const more = fc.uint8Array({ maxLength: 20 })
    fc.assert(
      fc.property(said, more, fc.nat(400), (bytes, rest, at) => {
        const whole = Buffer.concat([bytes, rest])
        const greeting = readGreeting(whole)
        const early = readGreeting(whole.subarray(0, at))
        // What a part says is final.
        if (early !== undefined) expect(early).toEqual(greeting)
        if (greeting === undefined || greeting === 'malformed') return
        expect(greeting.length).toBeLessThanOrEqual(Math.min(257, whole.length))
        expect(readGreeting(whole.subarray(0, greeting.length))).toEqual(greeting)
        expect(readGreeting(whole.subarray(0, greeting.length - 1))).toBeUndefined()
      }),
      { numRuns: 20_000 },
    )
  })

  const MALFORMED: readonly [string, (socket: TLSSocket) => void, RegExp][] = [
    ['of another kind', (socket) => socket.write(Buffer.from([2])), /^\S+ false$/],
    ['of HTTP', (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'), /^\S+ false$/],
    ['that is cut off', (socket) => socket.end(Buffer.from([1, 200, 97])), /^connect-failed false$/],
    ['that never comes, before an end', (socket) => socket.end(), /^connect-failed false$/],
    ['that never comes, before a reset', (socket) => reset(socket), /^connect-failed false$/],
    ['with a code that nobody knows', (socket) => socket.end(refusal('out-of-tea')), /^\S+ false$/],
    ['with no code', (socket) => socket.end(refusal('')), /^\S+ false$/],
    ['with the code of a success', (socket) => socket.end(refusal('ok')), /^\S+ false$/],
    ['with bytes of a terminal', (socket) => socket.end(refusal('\u001b[2J\r\n__proto__')), /^\S+ false$/],
    ['before a flood', (socket) => socket.write(Buffer.alloc(8_000_000, 1)), /^\S+ false$/],
    ['that opens, before a flood', (socket) => socket.write(Buffer.alloc(8_000_000)), /^open$/],
  ]

  it.each(MALFORMED)('%s ends well, and nothing was sent', async (_what, greet, how) => {
    const rig = await rigTo(greet)
    for (let i = 0; i < 3; i++) expect(await ends(rig)).toMatch(how)
    await leavesNothing(rig)
  })

  it('that comes byte by byte, and too slowly, is bounded by the timeouts', async () => {
    const rig = await rigTo(
      (socket) => {
        const bytes = refusal('overloaded'.repeat(20))
        let at = 0
        const timer = setInterval(() => socket.write(bytes.subarray(at, ++at)), 50)
        socket.on('close', () => clearInterval(timer))
      },
      { connectTimeoutMs: 300 },
    )
    expect(await ends(rig)).toBe('connect-failed false')
    await leavesNothing(rig)
  })

  it('of random bytes in random pieces ends every connection, and the next is opened', async () => {
    let good = false
    const random = fc.sample(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 4 }), 300)
    let next = 0
    const rig = await rigTo((socket) => {
      if (good) {
        socket.write(OPEN)
        return
      }
      for (const piece of random[next++ % random.length]!) socket.write(piece)
      if (next % 2 === 0) socket.end()
      else setTimeout(() => socket.destroy(), 20)
    })
    const all = await Promise.all(random.map(() => ends(rig)))
    for (const how of all) expect(how).toMatch(/^(open|\S+ false)$/)
    await leavesNothing(rig)
    good = true
    expect(await ends(rig)).toBe('open')
    await leavesNothing(rig)
  })
})
