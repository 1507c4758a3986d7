import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, it, onTestFinished } from 'vitest'
import { WebSocket as WsWebSocket } from 'ws'
import { makeWebSocket } from '../../../src/client/websocket/web-socket.ts'
import { Call } from '../../../src/core/call.ts'
import { inboundCall, serving } from '../../../src/core/context.ts'
import { chat, connector, rigTo, webSocket } from './rig.ts'

const user = new AsyncLocalStorage<string>()
const EVENTS = ['open', 'message', 'error', 'close'] as const

function warnings(): string[] {
  const seen: string[] = []
  const note = (warning: Error): void => void (warning.name === 'InmeshWarning' && seen.push(warning.message))
  process.on('warning', note)
  onTestFinished(() => void process.off('warning', note))
  return seen
}

describe('listeners of a WebSocket', () => {
  it.each([
    ['mesh.webSocket', (rig: Awaited<ReturnType<typeof rigTo>>) => makeWebSocket(rig, '/room', undefined)],
    [
      'ws',
      (rig: Awaited<ReturnType<typeof rigTo>>) =>
        new WsWebSocket('ws://chat/room', { createConnection: connector(rig) }) as unknown as WebSocket,
    ],
  ])('run in the async context in which it was made, each in its own: %s', async (_what, make) => {
    const service = await chat()
    const rig = await rigTo([service])
    const heard: string[] = []
    const open = (who: string): WebSocket =>
      user.run(who, () => {
        const request = new Call(rig.kind('GET', false), performance.now(), Number.POSITIVE_INFINITY, undefined)
        request.baggage = new Map([['user', who]])
        return serving(request, () => {
          const socket = make(rig)
          for (const name of EVENTS) {
            socket.addEventListener(name, () => {
              heard.push(`${who}: ${name} for ${user.getStore()} and ${inboundCall()?.baggage?.get('user')}`)
            })
          }
          return socket
        })
      })
    const [ann, bob] = [open('ann'), open('bob')]
    await expect.poll(() => heard.length).toBe(2)
    bob.send('1')
    ann.send('2')
    await expect.poll(() => heard.length).toBe(4)
    ann.close()
    service.open[1]!.close()
    await expect.poll(() => heard.length).toBeGreaterThanOrEqual(6)
    for (const line of heard) expect(line).toMatch(/^(ann: \w+ for ann and ann|bob: \w+ for bob and bob)$/)
    expect(service.handshakes.map(({ headers }) => headers.baggage).sort()).toEqual(['user=ann', 'user=bob'])
  })

  it('that throw or reject are reported, and neither end the process nor stop the others', async () => {
    const seen = warnings()
    const { socket, events } = webSocket(await rigTo([await chat()]))
    socket.onmessage = () => {
      throw new Error('mine')
    }
    socket.addEventListener('message', async () => {
      throw new Error('async mine')
    })
    let after = 0
    socket.addEventListener('message', {
      handleEvent() {
        after += 1
        throw new Error('of an object')
      },
    })
    await expect.poll(() => events).toEqual(['open'])
    socket.send('one')
    socket.send('two')
    await expect.poll(() => after).toBe(2)
    await expect.poll(() => seen.length).toBe(6)
    expect(seen[0]).toContain("a listener of a WebSocket to 'chat' threw: Error: mine")
    socket.close()
    await expect.poll(() => events.at(-1)).toBe('close')
  })

  it('can be replaced, removed and bound to a signal as those of any event target', async () => {
    const { socket, events } = webSocket(await rigTo([await chat()]))
    const heard: string[] = []
    const removed = (): void => void heard.push('removed')
    const abort = new AbortController()
    socket.addEventListener('message', removed)
    socket.addEventListener('message', removed)
    socket.addEventListener('message', () => heard.push('aborted'), { signal: abort.signal })
    socket.addEventListener('message', () => heard.push('once'), { once: true })
    socket.onmessage = () => heard.push('replaced')
    const last = () => heard.push('last')
    socket.onmessage = last
    expect(socket.onmessage).toBe(last)
    socket.removeEventListener('message', removed)
    abort.abort()
    await expect.poll(() => events).toEqual(['open'])
    socket.send('a')
    socket.send('b')
    await expect.poll(() => heard).toEqual(['once', 'last', 'last'])
  })
})
