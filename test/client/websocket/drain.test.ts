import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { WebSocketServer } from 'ws'
import type { HttpServer } from '../../../src/server/http/server.ts'
import { newIdentity } from '../../rigs/certificates.ts'
import { authority, serve } from '../../server/rig.ts'
import { opened } from '../http/opened.ts'
import { endpoint, makeRig, type Rig, type RigOptions } from '../http/rig.ts'
import { clientIdentity } from '../identity-rig.ts'
import { chat, rigTo, webSocket } from './rig.ts'

/** A server of the mesh whose WebSockets echo. */
async function meshServer(mode: 'plaintext' | 'strict') {
  const sockets = new WebSocketServer({ noServer: true })
  onTestFinished(() => {
    for (const one of sockets.clients) one.terminate()
  })
  const served = await serve((_request, response) => response.end('done'), {
    mode,
    onUpgrade: (request, socket, head) => {
      sockets.handleUpgrade(request, socket, head, (one) => one.on('message', (data) => one.send(data)))
    },
  })
  return { ...served, sockets }
}

async function client(server: HttpServer, options: RigOptions = {}): Promise<Rig> {
  const at = endpoint(server.port, { tls: options.identity !== undefined, service: 'inventory' })
  return opened(await makeRig([at], options))
}

describe('an open WebSocket', () => {
  it('sees 1001 when its server drains, and its call has succeeded', async () => {
    const { server } = await meshServer('plaintext')
    const rig = await client(server)
    const seen = await webSocket(rig).heard('open')
    const report = server.drain({ lameDuckMs: 0, graceMs: 60_000 })
    await seen.heard('close')
    expect(seen.closed).toMatchObject({ code: 1001, wasClean: true })
    expect(seen.events).toEqual(['open', 'close'])
    expect(await report).toMatchObject({ cancelled: 0 })
    await expect.poll(() => rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['success'])
  })

  it('is closed with 1001 when its own mesh goes', async () => {
    const service = await chat()
    const rig = await rigTo([service])
    const seen = await webSocket(rig).heard('open')
    rig.transport.goAway()
    rig.transport.goAway()
    await seen.heard('close')
    expect(seen.closed).toMatchObject({ code: 1001, wasClean: true })
    await expect.poll(() => service.codes).toEqual([1001])
    await expect.poll(() => rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['success'])
  })

  it('is asked to close even if the transport closes in the same turn', async () => {
    const service = await chat()
    const rig = await rigTo([service])
    const seen = await webSocket(rig).heard('open')
    rig.transport.close(0)
    await seen.heard('close')
    await expect.poll(() => service.codes).toEqual([1001])
    expect(rig.endpoint.pending).toBe(0)
  })

  it('outlives the withdrawal of its endpoint for the grace, and is then asked to close', async () => {
    const service = await chat()
    const rig = await rigTo([service])
    const seen = await webSocket(rig).heard('open')
    rig.endpoint.transport!.close(1_000)
    seen.socket.send('still here')
    await seen.heard('message')
    await seen.heard('close')
    expect(seen.closed).toMatchObject({ code: 1001 })
    const late = await webSocket(rig, '/room', { timeout: 20_000 }).heard('close')
    expect(late.error).toMatchObject({ code: 'connect-failed', sent: false })
  })

  it('sends the close frame between two frames, not within one', async () => {
    const service = await chat()
    const rig = await rigTo([service])
    const seen = await webSocket(rig).heard('open')
    // Much of it still waits in this process when the close is asked for.
    seen.socket.send(new Uint8Array(20_000_000))
    rig.transport.goAway()
    await seen.heard('close')
    await expect.poll(() => service.codes).toEqual([1001])
  })
})

describe('the identity behind a WebSocket', () => {
  const ours = () => clientIdentity(newIdentity(authority, 'checkout'))

  it('is verified before anything is sent', async () => {
    const { server, sockets } = await meshServer('strict')
    const { identity } = ours()
    const at = endpoint(server.port, { tls: true, service: 'prices' })
    const rig = opened(await makeRig([at], { identity, service: 'prices' }))
    const seen = await webSocket(rig).heard('close')
    expect(seen.error).toMatchObject({ code: 'identity-rejected', sent: false })
    expect(sockets.clients.size).toBe(0)
  })

  it('is kept through a rotation, and cut with a denied service', async () => {
    const { server } = await meshServer('strict')
    const { source, identity } = ours()
    const rig = await client(server, { identity, connections: { rotationSpread: 0 } })
    const seen = await webSocket(rig).heard('open')
    source.rotate({ ...newIdentity(authority, 'checkout'), sequence: source.current.sequence })
    expect(await (await rig.http.get('/')).text()).toBe('done')
    seen.socket.send('hello')
    await seen.heard('message')
    const denied = ['spiffe://mesh.test/service/inventory']
    const next = { ...source.current, sequence: source.current.sequence + 1, denied }
    identity.verifier.setTrust(next)
    source.rotate(next)
    await seen.heard('close')
    expect(seen.error).toMatchObject({ code: 'connection-lost' })
    expect(seen.error!.message).toContain("an operator denied 'inventory' all access")
    const refused = await webSocket(rig).heard('close')
    expect(refused.error).toMatchObject({ code: 'identity-rejected', sent: false })
  })
})

describe('a peer that has vanished', () => {
  /** An open WebSocket over which a message has come, and a clock that the test sets. */
  async function open(onOpen: (socket: import('ws').WebSocket) => void) {
    const service = await chat({
      onOpen: (socket) => {
        socket.send('welcome')
        onOpen(socket)
      },
    })
    const rig = await rigTo([service])
    const seen = await webSocket(rig).heard('message')
    const at = rig.transport.clock.now()
    const now = vi.spyOn(rig.transport.clock, 'now')
    onTestFinished(() => now.mockRestore())
    const sweepAt = (seconds: number): void => {
      now.mockReturnValue(at + seconds * 1_000)
      rig.transport.sweep()
    }
    return { seen, sweepAt }
  }

  it('is asked for a pong, and given up if it does not answer', async () => {
    const { seen, sweepAt } = await open((socket) => socket.pause())
    for (const seconds of [26, 27, 52, 53]) sweepAt(seconds)
    await seen.heard('close')
    expect(seen.closed).toMatchObject({ code: 1006 })
    expect(seen.error!.message).toMatch(/the peer has sent nothing for 5\d s/)
  })

  it('is kept if it answers, and told from a loop that stalled', async () => {
    let pings = 0
    const { seen, sweepAt } = await open((socket) =>
      socket.on('ping', () => {
        pings += 1
      }),
    )
    for (const [i, seconds] of [26, 60, 90].entries()) {
      sweepAt(seconds)
      await expect.poll(() => pings).toBe(i + 1)
      // The pong has arrived before the echo.
      seen.socket.send('echo')
      await seen.heard('message', i + 2)
    }
    expect(seen.closed).toBeUndefined()
  })
})
