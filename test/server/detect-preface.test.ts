import { connect, createServer, type Socket } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import { detectPreface } from '../../src/server/detect-preface.ts'

interface Accepted {
  readonly by: string
  readonly socket: Socket
}

/** A port that tells two prefaces apart, and answers with all that it reads. */
async function listen(ms = 30_000): Promise<{ port: number; accepted: Accepted[] }> {
  const accepted: Accepted[] = []
  const accept = (by: string) => (socket: Socket) => {
    accepted.push({ by, socket })
    socket.on('data', (bytes) => socket.write(`${by}:${bytes}`))
    socket.on('end', () => socket.end())
  }
  const known = [
    { preface: Buffer.from('PRI *'), accept: accept('h2') },
    { preface: Buffer.from('\0inmesh/1'), accept: accept('mux') },
  ]
  const server = createServer({ allowHalfOpen: true }, (socket) =>
    detectPreface(socket, systemClock, ms, known, accept('other')),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return { port: (server.address() as { port: number }).port, accepted }
}

function open(port: number): { socket: Socket; received: () => string; closed: Promise<void> } {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
  let received = ''
  socket.on('data', (bytes) => {
    received += bytes
  })
  socket.on('end', () => socket.end())
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  return { socket, received: () => received, closed: new Promise((resolve) => socket.once('close', () => resolve())) }
}

it.each([
  ['PRI * HTTP/2.0', 'h2'],
  ['\0inmesh/1 and more', 'mux'],
  ['PUT / HTTP/1.1', 'other'],
  ['x', 'other'],
])('hands over a connection that begins with %j, with nothing consumed', async (bytes, by) => {
  const { port } = await listen()
  const { socket, received } = open(port)
  socket.write(bytes)
  await expect.poll(received).toBe(`${by}:${bytes}`)
})

it.each([
  ['PRI *', 'h2'],
  ['PRX', 'other'],
])('waits for the rest of a preface that arrives in pieces: %j', async (bytes, by) => {
  const { port, accepted } = await listen()
  const { socket, received } = open(port)
  for (let i = 0; i < bytes.length; i++) {
    expect(accepted).toEqual([])
    socket.write(bytes[i]!)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  await expect.poll(received).toBe(`${by}:${bytes}`)
})

it('closes a connection that says nothing, or only a part', async () => {
  const { port, accepted } = await listen(100)
  for (const part of ['', 'PR']) {
    const { socket, closed } = open(port)
    socket.write(part)
    await closed
  }
  expect(accepted).toEqual([])
})

it('closes a connection that ends before it has said what it speaks', async () => {
  const { port, accepted } = await listen()
  const { socket, closed } = open(port)
  socket.end('PR')
  await closed
  expect(accepted).toEqual([])
})

it('lets a handed-over connection be half-closed and answered', async () => {
  const { port } = await listen()
  const { socket, received, closed } = open(port)
  socket.end('GET /')
  await closed
  expect(received()).toBe('other:GET /')
})
