/** Calls the listeners of a `node:http` server that does not listen itself. */
import { Server } from 'node:http'
import type { ApplicationEvents, HttpListener } from './application.ts'
import { endsBy, listenFor } from './served-server.ts'

/** A framework's lifecycle: `listening` runs after the listeners, `closed` replaces them. */
interface Lifecycle {
  listening(): unknown
  closed(): unknown
}

export function serverEvents(server: Server, lifecycle?: Lifecycle): ApplicationEvents {
  let listensNoMore: (() => boolean) | undefined
  return {
    ...requestEvents(server),
    // A spread reads the getter once.
    get upgrades() {
      return server.listenerCount('upgrade') > 0
    },
    listening: (address) => {
      listensNoMore = listenFor(server, address)
      return Promise.all([callListeners(server, 'listening'), lifecycle?.listening()])
    },
    served: (ending) => endsBy(server, ending),
    closed: () => {
      if (listensNoMore?.() === false) return undefined
      return lifecycle === undefined ? server.emit('close') : lifecycle.closed()
    },
  }
}

/** Those of a server that listens itself: it emits its own `listening` and `close`. */
export function requestEvents(server: Server): ApplicationEvents {
  return {
    expect: (event, request, response) => {
      if (server.listenerCount(event) === 0) return undefined
      return callListeners(server, event, request, response) ?? true
    },
    get upgrades() {
      return server.listenerCount('upgrade') > 0
    },
    upgrade: (request, socket, head) => callListeners(server, 'upgrade', request, socket, head),
    listening: () => undefined,
    served: () => undefined,
    closed: () => undefined,
  }
}

/** Calls the listeners for `request`. Without one, the request fails at once. */
export function requestListeners(server: Server): HttpListener {
  return (request, response) => {
    if (server.listenerCount('request') === 0) throw new Error("the server has no listener for 'request'")
    return callListeners(server, 'request', request, response)
  }
}

const PRISTINE = new Server()

/** Node adds these listeners to every server. They handle the server's own connections. */
export function isBuiltInListener(event: string, listener: unknown): boolean {
  return PRISTINE.listeners(event).includes(listener as () => void)
}

/**
 * Like `emit`, but collects the promises of async listeners, whose rejection would end the process.
 */
function callListeners(server: Server, event: string, ...given: unknown[]): PromiseLike<unknown> | undefined {
  const promises: PromiseLike<unknown>[] = []
  for (const listener of server.rawListeners(event)) {
    if (isBuiltInListener(event, listener)) continue
    const returned = listener.apply(server, given) as PromiseLike<unknown> | undefined
    if (typeof returned?.then === 'function') promises.push(returned)
  }
  return promises.length === 0 ? undefined : Promise.all(promises)
}
