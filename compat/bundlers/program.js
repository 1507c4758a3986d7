/** Serves and calls by HTTP and gRPC in the mesh of `INMESH_REGISTRY`, with a route that has a regular expression. */
import 'inmesh/bundled'
import 'inmesh/bundled/grpc'
import * as grpc from '@grpc/grpc-js'
import { currentCall, joinMesh } from 'inmesh'

const STRING = {
  requestSerialize: (text) => Buffer.from(text),
  requestDeserialize: String,
  responseSerialize: (text) => Buffer.from(text),
  responseDeserialize: String,
}
const SERVICE = { echo: { path: '/shop.Echo/echo', requestStream: false, responseStream: false, ...STRING } }
const EchoClient = grpc.makeGenericClientConstructor(SERVICE, 'Echo')

async function main() {
  const options = { stateDir: 'memory', drainNotice: 0, joinTimeout: '60s' }
  const inventory = await joinMesh({ ...options, service: 'inventory' })
  await inventory.serve((_request, response) => response.end(currentCall()?.peer?.service))
  const server = new grpc.Server()
  server.addService(SERVICE, { echo: (call, callback) => callback(null, call.request.toUpperCase()) })
  const echo = await joinMesh({ ...options, service: 'echo' })
  await echo.serveGrpc(server)

  const checkout = await joinMesh({ ...options, service: 'checkout' })
  const answers = {
    fetch: await (await checkout.fetch('http://inventory/items/42')).text(),
    http: await (await checkout.http('inventory').get('/items/42')).text(),
    regex: (await checkout.http('inventory').get('/gone/42')).status,
    grpc: await checkout.grpc(EchoClient, 'echo').promises.echo('hello', { timeout: '5s' }),
  }
  for (const mesh of [checkout, echo, inventory]) await mesh.close()
  console.log(JSON.stringify(answers))
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error)
    process.exit(1)
  },
)
