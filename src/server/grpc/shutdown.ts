/** A grpc-js `Server` that the mesh listens for leaves the mesh before it shuts down. */
import type * as grpc from '@grpc/grpc-js'
import type { Ending } from '../ending.ts'

const REPLACED = ['tryShutdown', 'forceShutdown'] as const

/** Returns how to end this. */
export function shutsDownBy(server: grpc.Server, ending: Ending): () => void {
  const restore = (): void => {
    // Those of its class are there again.
    for (const method of REPLACED) Reflect.deleteProperty(server, method)
  }
  server.tryShutdown = (callback) => {
    void ending.close().then(() => {
      restore()
      // What the callback throws is the program's, as in grpc-js.
      process.nextTick(() => server.tryShutdown(callback))
    })
  }
  server.forceShutdown = () => {
    void ending.close()
    void ending.end()
    restore()
    server.forceShutdown()
  }
  return restore
}
