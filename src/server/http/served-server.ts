/** A `node:http` server that the mesh listens for has its address, and leaves the mesh to close. */
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { OptionsError } from '../../options/fields.ts'
import type { Ending } from '../ending.ts'

type Closed = (error?: Error) => void

/** The `serve` calls of a server, in order. */
class ServedServer {
  readonly addresses = new Set<AddressInfo>()
  readonly endings = new Set<Ending>()
  readonly ended = Promise.withResolvers<void>()
  closing = false

  async leave(): Promise<void> {
    // One that the registry does not know yet leaves as soon as it does.
    this.closing = true
    await Promise.all([this.ended.promise, ...[...this.endings].map((each) => each.close())])
  }
}

const servers = new WeakMap<Server, ServedServer>()

/**
 * Frameworks, plugins and logs ask the server for its address, and programs close it at their end.
 * Returns how to end this; true: it was the last of its `serve` calls.
 */
export function listenFor(server: Server, address: AddressInfo): () => boolean {
  let served = servers.get(server)
  if (served === undefined) {
    served = new ServedServer()
    servers.set(server, served)
    Object.defineProperties(server, replacements(server, served))
  }
  const { addresses, ended } = served
  addresses.add(address)
  return () => {
    addresses.delete(address)
    if (addresses.size > 0) return false
    servers.delete(server)
    // Those of its class are there again.
    for (const name of REPLACED) Reflect.deleteProperty(server, name)
    ended.resolve()
    return true
  }
}

/** Whether the mesh listens for it. */
export function isServed(server: Server): boolean {
  return servers.has(server)
}

/** The registry knows of one of its `serve` calls. */
export function endsBy(server: Server, ending: Ending): void {
  const served = servers.get(server)
  if (served === undefined) return
  served.endings.add(ending)
  if (served.closing) void ending.close()
}

/** Resolves when the mesh serves it no more. Never rejects. */
export async function leaveMesh(server: Server): Promise<void> {
  await servers.get(server)?.leave()
}

const REPLACED = ['address', 'listening', 'listen', 'close', 'closeAllConnections'] as const

function replacements(server: Server, served: ServedServer): Record<(typeof REPLACED)[number], PropertyDescriptor> {
  const method = (value: (...given: never[]) => unknown) => ({ value, configurable: true, writable: true })
  return {
    address: method(() => [...served.addresses].at(-1) ?? null),
    listening: { value: true, configurable: true },
    listen: method(() => refuse(server)),
    close: method((callback?: Closed) => {
      const left = served.leave()
      // What it throws is the program's, as in Node.
      if (callback !== undefined) void left.then(() => process.nextTick(callback))
      return server
    }),
    closeAllConnections: method(() => {
      void served.leave()
      for (const { end } of served.endings) void end()
    }),
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
