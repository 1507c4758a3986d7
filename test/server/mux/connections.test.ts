/** Connections of `inmesh/1` at a server: who is let in, who is asked to leave, and how. */
import { connect } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { describe, expect, it, onTestFinished } from 'vitest'
import { GOAWAY } from '../../../src/mux/wire.ts'
import { currentCall } from '../../../src/server/current-call.ts'
import type { HttpListener } from '../../../src/server/http/application.ts'
import { craftLeaf, newAuthority, newIdentity } from '../../rigs/certificates.ts'
import { MuxClient } from '../../rigs/mux-client.ts'
import { authority, clientOf, pause, sendRaw, serve, TRUSTING } from '../rig.ts'

const who: HttpListener = (_request, response) => void response.end(currentCall()?.peer?.service ?? 'nobody')
const MUX = { transport: 'auto' } as const

async function open(port: number, as?: { key: string; cert: string }): Promise<MuxClient> {
  const client = await MuxClient.open(port, as === undefined ? undefined : { ...as, ...TRUSTING })
  onTestFinished(() => client.close())
  return client
}

describe('one port', () => {
  it('tells inmesh/1, HTTP/1.1 and TLS apart in every mode', async () => {
    const as = clientOf('checkout')
    const plain = 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'
    const { server: plaintext } = await serve(who, { mode: 'plaintext' }, MUX)
    expect((await (await open(plaintext.port)).ask().done).body).toBe('nobody')
    expect(await sendRaw(plaintext.port, plain)).toContain('nobody')
    const { server: permissive } = await serve(who, { mode: 'permissive' }, MUX)
    expect((await (await open(permissive.port)).ask().done).body).toBe('nobody')
    expect((await (await open(permissive.port, as)).ask().done).body).toBe('checkout')
    expect(await sendRaw(permissive.port, plain)).toContain('nobody')
    expect(permissive.stats).toMatchObject({ accepted: 3, plaintext: 2 })
    const { server: strict } = await serve(who, { mode: 'strict' }, MUX)
    expect((await (await open(strict.port, as)).ask().done).body).toBe('checkout')
    await expect(open(strict.port)).rejects.toThrow()
  })

  it('offers it only while the service prefers it, and then asks its clients to leave', async () => {
    const { server } = await serve(who, { mode: 'strict' }, { transport: 'http1' })
    const as = { ...clientOf('checkout'), ...TRUSTING }
    const agreed = (): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const socket = tlsConnect({
          port: server.port,
          host: '127.0.0.1',
          ALPNProtocols: ['inmesh/1', 'http/1.1'],
          ...as,
        })
        socket.once('secureConnect', () => resolve(socket.alpnProtocol)).once('error', reject)
        onTestFinished(() => void socket.destroy())
      })
    expect([await agreed(), server.transports]).toEqual(['http/1.1', ['http/1.1', 'h2']])
    server.transport = 'auto'
    expect([await agreed(), server.transports]).toEqual(['inmesh/1', ['inmesh/1', 'http/1.1', 'h2']])
    const client = await open(server.port, clientOf('checkout'))
    server.transport = 'http1'
    await expect.poll(() => client.goAway).toMatchObject({ code: GOAWAY.NO_ERROR })
  })

  it.each(['plaintext', 'permissive'] as const)('bounds clients that say little or nothing: %s', async (mode) => {
    const { server } = await serve(who, { mode, headersTimeout: 200 }, MUX)
    const half = '\0inm'
    const texts = await Promise.all([
      sendRaw(server.port, ''),
      sendRaw(server.port, half),
      sendRaw(server.port, '\0inmesh/1'),
    ])
    expect(texts[0]).toMatch(mode === 'plaintext' ? /^HTTP\/1.1 408 .*\r\ninmesh-not-executed: /s : /^$/)
    await expect.poll(() => server.stats.connections).toBe(0)
  })
})

describe('a refused peer', () => {
  it('hears why, before any of its requests is executed', async () => {
    let ran = 0
    const { server, events } = await serve(() => void ran++, { mode: 'strict' }, MUX)
    const stranger = craftLeaf(newAuthority(), {})
    const expired = craftLeaf(authority, { notBefore: Date.now() - 7_200_000, notAfter: Date.now() - 3_600_000 })
    for (const [as, reason] of [
      [stranger, 'untrusted-issuer'],
      [expired, 'expired'],
    ] as const) {
      const options = { port: server.port, host: '127.0.0.1', ALPNProtocols: ['inmesh/1'], ...as, ...TRUSTING }
      const client = new MuxClient(tlsConnect(options))
      await client.ended.promise
      expect(client.goAway).toEqual({
        last: 0,
        code: GOAWAY.IDENTITY_REFUSED,
        reason: `identity-rejected; reason=${reason}`,
      })
      expect(client.session.room).toBe(0)
    }
    expect(ran).toBe(0)
    expect(events.of('peer:refused').map(({ reason }) => reason)).toEqual(['untrusted-issuer', 'expired'])
  })

  it('that is denied later gets answers to what runs, and a GOAWAY with the reason', async () => {
    const { server, identity } = await serve(() => {}, { mode: 'strict' }, MUX)
    const client = await open(server.port, clientOf('checkout'))
    const answer = client.ask()
    await expect.poll(() => server.stats.inFlight).toBe(1)
    identity.rotate({ ...identity.current, denied: ['spiffe://mesh.test/service/checkout'] })
    expect(await answer.done).toMatchObject({ status: 403 })
    await client.ended.promise
    expect(client.goAway).toMatchObject({ code: GOAWAY.IDENTITY_REFUSED, reason: 'identity-rejected; reason=denied' })
    expect(server.stats.inFlight).toBe(0)
  })
})

describe('a connection that is asked to leave', () => {
  it('names the last stream that is answered: those beyond are certainly not executed', async () => {
    let ran = 0
    const release = Promise.withResolvers<void>()
    const { server } = await serve(
      async (_request, response) => {
        ran += 1
        await release.promise
        response.end('done')
      },
      {},
      MUX,
    )
    const client = await open(server.port)
    const first = client.ask()
    await expect.poll(() => ran).toBe(1)
    const report = server.drain({ lameDuckMs: 200 })
    // It crosses the GOAWAY on the way.
    const late = client.ask()
    await expect.poll(() => client.goAway).toMatchObject({ last: 1 })
    release.resolve()
    expect((await first.done).body).toBe('done')
    await expect(late.done).rejects.toMatchObject({ reset: { executed: false } })
    expect(await report).toEqual({ finished: 1, cancelled: 0 })
    await client.ended.promise
    expect([ran, server.stats.connections]).toEqual([1, 0])
  })

  it('leaves after a rotation, and when it is idle', async () => {
    const { server: impatient } = await serve(who, { mode: 'strict', keepAliveTimeout: 100 }, MUX)
    const { server, identity } = await serve(who, { mode: 'strict', rotationGrace: 0 }, MUX)
    const idle = await open(impatient.port, clientOf('checkout'))
    await idle.ended.promise
    expect(idle.goAway).toMatchObject({ code: GOAWAY.NO_ERROR })
    const rotated = await open(server.port, clientOf('checkout'))
    identity.rotate(newIdentity(authority, 'inventory'))
    await rotated.ended.promise
    expect(rotated.goAway).toMatchObject({ code: GOAWAY.NO_ERROR })
    expect((await (await open(server.port, clientOf('checkout'))).ask().done).body).toBe('checkout')
  })

  it('ends a long answer at the end of the grace', async () => {
    const { server } = await serve((_request, response) => void response.write('part'), {}, MUX)
    const client = await open(server.port)
    const answer = await client.ask().head
    await pause(10)
    expect(await server.drain({ lameDuckMs: 0, graceMs: 50 })).toEqual({ finished: 0, cancelled: 1 })
    await expect(answer.done).rejects.toThrow('reset')
  })
})

it('a client that breaks the protocol loses its connection, reported and counted', async () => {
  const { server, events } = await serve(who, {}, MUX)
  const socket = connect(server.port, '127.0.0.1', () =>
    socket.write(Buffer.concat([Buffer.from('\0inmesh/1'), Buffer.alloc(64, 0xff)])),
  )
  socket.on('error', () => {})
  await expect.poll(() => events.of('peer:refused')).toMatchObject([{ side: 'server', reason: 'protocol-error' }])
  await expect.poll(() => server.stats.connections).toBe(0)
  socket.destroy()
})
