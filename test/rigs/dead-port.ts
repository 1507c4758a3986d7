/**
 * A port where nothing listens. It stays reserved, because the next server of a test could get a
 * released one.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/**
 * Of 127.0.0.1. A connection has it as its own end until the test is over, so that nothing can
 * listen on it.
 */
export async function deadPort(): Promise<number> {
  const server = createServer((other) => other.on('error', () => {}).resume()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  for (;;) {
    const holder = await connectedFrom(await freePort(), server)
    if (holder === undefined) continue
    onTestFinished(() => {
      holder.destroy()
      server.close()
    })
    return holder.localPort!
  }
}

/**
 * A port for servers. Linux gives clients ports of the other parity first: one that connects to a
 * port of its kind may get the same, and is then connected with itself.
 */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** `undefined`: another process has taken the port. */
async function connectedFrom(localPort: number, server: Server): Promise<Socket | undefined> {
  const { port } = server.address() as AddressInfo
  const holder = connect({ port, host: '127.0.0.1', localPort })
  try {
    await once(holder, 'connect')
    return holder
  } catch {
    return undefined
  }
}
