/**
 * A port where nothing listens. It stays reserved, because the next server of a test could get a
 * released one.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { afterEach } from 'vitest'

const held: (() => void)[] = []

afterEach(() => {
  for (const letGo of held.splice(0)) letGo()
})

/**
 * Of 127.0.0.1. A connection has it as its own end until the test is over, so that nothing can
 * listen on it.
 */
export async function deadPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const holder = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [[other]] = await Promise.all([once(server, 'connection'), once(holder, 'connect')])
  held.push(() => {
    holder.destroy()
    other.destroy()
    server.close()
  })
  return holder.localPort!
}
