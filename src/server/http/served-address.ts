/** A `node:http` server that the mesh listens for has its address, and listens nowhere else. */
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { OptionsError } from '../../options/fields.ts'

/** Where the mesh listens for it, in the order of its `serve` calls. */
const served = new WeakMap<Server, Set<AddressInfo>>()

/** Frameworks, plugins and logs ask the server for its address. Returns how to end this. */
export function listenFor(server: Server, address: AddressInfo): () => void {
  const addresses = served.get(server) ?? new Set()
  served.set(server, addresses)
  addresses.add(address)
  server.address = () => [...addresses].at(-1) ?? null
  server.listen = () => refuse(server)
  return () => {
    addresses.delete(address)
    if (addresses.size > 0) return
    // Those of its class are there again.
    for (const method of ['address', 'listen'] as const) Reflect.deleteProperty(server, method)
  }
}

/** As Node reports a port that is taken. @throws OptionsError if there is no listener for it */
function refuse(server: Server): Server {
  const message =
    'the mesh listens for this server already, and a second port would take requests past intentions and limits; ' +
    "leave out listen(), or serve with mode: 'permissive' to take plaintext, too"
  const error = new OptionsError('listen', [{ path: [], message }])
  if (server.listenerCount('error') === 0) throw error
  process.nextTick(() => server.emit('error', error))
  return server
}
