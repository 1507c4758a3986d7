/** Listeners of a `node:http` server that the mesh serves instead of the server itself. */
import { Server } from 'node:http'
import type { HttpListener, KeptListeners } from './handler.ts'

/**
 * What a framework does around its server's listeners: besides those for `listening`, in place of
 * those for `close`.
 */
interface Around {
  listening(): unknown
  closed(): unknown
}

/** Calls the listeners of `server`. */
export function keptListeners(server: Server, around?: Around): KeptListeners {
  return {
    expecting: (event, request, response) => {
      if (server.listenerCount(event) === 0) return undefined
      return callListeners(server, event, request, response) ?? true
    },
    get upgrades() {
      return server.listenerCount('upgrade') > 0
    },
    upgrade: (request, socket, head) => callListeners(server, 'upgrade', request, socket, head),
    listening: () => Promise.all([callListeners(server, 'listening'), around?.listening()]),
    closed: () => (around === undefined ? server.emit('close') : around.closed()),
  }
}

/** Asks the listeners for `request`. A request that none would answer fails at once. */
export function requestListeners(server: Server): HttpListener {
  return (request, response) => {
    if (server.listenerCount('request') === 0) throw new Error("the server has no listener for 'request'")
    return callListeners(server, 'request', request, response)
  }
}

const PRISTINE = new Server()

/** The listeners that Node gives to every server: they are about its own connections. */
export function isOfNode(event: string, listener: unknown): boolean {
  return PRISTINE.listeners(event).includes(listener as () => void)
}

/**
 * Like `emit`, but with the promises of listeners that are async functions, whose rejection would
 * end the process.
 */
export function callListeners(server: Server, event: string, ...given: unknown[]): PromiseLike<unknown> | undefined {
  const promises: PromiseLike<unknown>[] = []
  for (const listener of server.rawListeners(event)) {
    if (isOfNode(event, listener)) continue
    const returned = listener.apply(server, given) as PromiseLike<unknown> | undefined
    if (typeof returned?.then === 'function') promises.push(returned)
  }
  return promises.length === 0 ? undefined : Promise.all(promises)
}
