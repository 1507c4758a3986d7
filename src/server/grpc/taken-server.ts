/** What the mesh takes over of a grpc-js `Server` that has been bound to a port. */
import { ListeningServer } from '../listening-server.ts'
import { listeningOn } from './internals.ts'

/** `undefined`: it does not listen on `port`, or grpc-js differs from the known versions. */
export function listeningGrpc(server: object, port: number, beside: boolean): ListeningServer | undefined {
  // Of several addresses, such as those of `localhost`, one is announced.
  const [first] = listeningOn(server, port)
  return first && new ListeningServer(first, () => true, beside)
}
