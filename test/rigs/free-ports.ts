/** Ports for servers of other programs, which cannot choose a free one by themselves. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'

/** Below the ports that a system gives out by itself: no other program of a test gets one. */
const FIRST = 10_000
/**
 * Each process of vitest has some of them: a port is free for a moment before its server takes it,
 * and another process must not get it then.
 */
const SHARES = 8
const SHARE = 2_750
const first = FIRST + (Number(process.env.VITEST_POOL_ID ?? 0) % SHARES) * SHARE
let next = Math.floor(Math.random() * SHARE)

/** Of loopback, all held at once, so that none is given twice. */
export async function freePorts(count: number): Promise<number[]> {
  const servers: Server[] = []
  const ports: number[] = []
  while (ports.length < count) {
    const port = first + (next++ % SHARE)
    const server = createServer().listen(port, '127.0.0.1')
    if (!(await listens(server))) continue
    servers.push(server)
    ports.push(port)
  }
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}

export async function freePort(): Promise<number> {
  return (await freePorts(1))[0]!
}

function listens(server: Server): Promise<boolean> {
  return new Promise((resolve) => {
    server.once('listening', () => resolve(true))
    server.once('error', () => resolve(false))
  })
}
