import { describe, expect, it } from 'vitest'
import { chat, rigTo, webSocket } from './rig.ts'

describe('mesh.webSocket', () => {
  it('has the interface of a standard WebSocket', async () => {
    const service = await chat({ protocols: 'chat.v2' })
    const rig = await rigTo([service])
    const seen = webSocket(rig, '/room?name=a%20b', { protocols: ['chat.v1', 'chat.v2'], headers: { 'x-user': 'u7' } })
    const { socket } = seen
    expect(socket.readyState).toBe(0)
    expect(socket.url).toBe('ws://chat/room?name=a%20b')
    expect(() => socket.send('early')).toThrow(/before connected/)
    await seen.heard('open')
    expect(socket).toMatchObject({ readyState: 1, protocol: 'chat.v2', extensions: '', bufferedAmount: 0 })
    socket.binaryType = 'arraybuffer'
    socket.send('grüezi')
    socket.send(new Uint8Array([1, 2, 3]))
    await seen.heard('message', 2)
    expect(seen.messages[0]).toBe('grüezi')
    expect(new Uint8Array(seen.messages[1] as ArrayBuffer)).toEqual(new Uint8Array([1, 2, 3]))
    socket.close(4001, 'enough')
    await seen.heard('close')
    expect(seen.closed).toMatchObject({ code: 4001, reason: 'enough', wasClean: true })
    await expect.poll(() => service.codes).toEqual([4001])
    const [{ headers, url }] = service.handshakes as [(typeof service.handshakes)[0]]
    expect(url).toBe('/room?name=a%20b')
    expect(headers).toMatchObject({ host: 'chat', 'x-user': 'u7', 'sec-websocket-protocol': 'chat.v1, chat.v2' })
    expect(Number(headers['inmesh-timeout-ms'])).toBeGreaterThan(0)
    await expect.poll(() => rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['success'])
    await expect.poll(() => rig.transport.connections).toBe(0)
  })

  it('is an event target with the constants, and no instance of the global class', async () => {
    const seen = await webSocket(await rigTo([await chat()])).heard('open')
    const { socket } = seen
    const events: unknown[] = []
    for (const type of ['message', 'close']) socket.addEventListener(type, (event) => events.push(event))
    socket.send('hello')
    await seen.heard('message')
    socket.close()
    await seen.heard('close')
    expect([socket instanceof EventTarget, events.every((event) => event instanceof Event)]).toEqual([true, true])
    expect([socket.CONNECTING, socket.OPEN, socket.CLOSING, socket.CLOSED]).toEqual([0, 1, 2, 3])
    expect(socket).not.toBeInstanceOf(globalThis.WebSocket)
  })

  it('compresses messages if the service does', async () => {
    const service = await chat({ deflate: true })
    const seen = await webSocket(await rigTo([service])).heard('open')
    expect(seen.socket.extensions).toContain('permessage-deflate')
    const long = 'again and again. '.repeat(20_000)
    seen.socket.send(long)
    await seen.heard('message')
    expect(seen.messages).toEqual([long])
  })

  it('carries messages of many megabytes, and counts what waits to be sent', async () => {
    const seen = await webSocket(await rigTo([await chat()])).heard('open')
    seen.socket.binaryType = 'arraybuffer'
    const big = Buffer.alloc(20_000_000, 'x')
    seen.socket.send(big)
    expect(seen.socket.bufferedAmount).toBe(big.length)
    await seen.heard('message')
    expect(Buffer.from(seen.messages[0] as ArrayBuffer).equals(big)).toBe(true)
    expect(seen.socket.bufferedAmount).toBe(0)
  })

  it('closes with 1009 on a message beyond maxPayload', async () => {
    const rig = await rigTo([await chat()])
    const seen = await webSocket(rig, '/room', { maxPayload: 1_000 }).heard('open')
    seen.socket.send('x'.repeat(1_001))
    await seen.heard('close')
    expect(seen.messages).toEqual([])
    expect(seen.events).toEqual(['open', 'error', 'close'])
    await expect.poll(() => rig.attempts.outcomes.length).toBe(1)
  })

  it('counts as a call in flight until it closes, and its answer is 101', async () => {
    const rig = await rigTo([await chat()])
    const seen = await webSocket(rig).heard('open')
    expect(rig.endpoint.pending).toBe(1)
    expect(rig.attempts).toMatchObject({ admitted: 1, outcomes: [] })
    seen.socket.close()
    await expect.poll(() => rig.endedCalls.length).toBe(1)
    expect(rig.endpoint.pending).toBe(0)
    expect(rig.endedCalls[0]!.first).toMatchObject({ status: 101 })
  })

  it('opens a thousand to one endpoint, beyond the connections of requests', async () => {
    const service = await chat()
    const rig = await rigTo([service], {
      connections: { maxConnections: 2, maxWaiting: 2, connectTimeout: '60s' },
      timeoutMs: 100_000,
    })
    const all = Array.from({ length: 1_000 }, (_, i) => webSocket(rig, `/rooms/${i}`))
    await Promise.all(all.map((seen) => seen.heard('open')))
    for (const { socket } of all) socket.send('here')
    await Promise.all(all.map((seen) => seen.heard('message')))
    expect(service.open.length).toBe(1_000)
    expect((await rig.http.get('/')).status).toBe(200)
    for (const { socket } of all) socket.close(1000)
    await Promise.all(all.map((seen) => seen.heard('close')))
    await expect.poll(() => rig.transport.connections).toBeLessThanOrEqual(1)
    expect(rig.attempts.outcomes.filter(({ verdict }) => verdict !== 'success')).toEqual([])
  })
})
