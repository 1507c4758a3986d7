/**
 * Reserves ports below the kernel's ephemeral range (32768 and up on Linux). Otherwise an outgoing
 * connection could take the port of a killed instance before it restarts.
 */
import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'

const FIRST = 15_000
const COUNT = 15_000
const OPEN_BOUND_MS = 10_000

const taken = new Set<number>()

export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 1_000; tries++) {
    const port = FIRST + Math.floor(Math.random() * COUNT)
    if (taken.has(port)) continue
    const server = net.createServer().listen(port, '127.0.0.1')
    const listening = await once(server, 'listening').then(
      () => true,
      () => false,
    )
    if (!listening) continue
    server.close()
    await once(server, 'close')
    taken.add(port)
    return port
  }
  throw new Error(`no free port from ${FIRST} to ${FIRST + COUNT - 1}`)
}

/** Resolves when somebody listens there. */
export async function listening(port: number): Promise<void> {
  const untilAt = performance.now() + OPEN_BOUND_MS
  for (;;) {
    const socket = net.connect(port, '127.0.0.1')
    const open = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (open) return
    if (performance.now() > untilAt) throw new Error(`nobody listens on port ${port} after ${OPEN_BOUND_MS / 1000} s`)
    await wait(20)
  }
}
