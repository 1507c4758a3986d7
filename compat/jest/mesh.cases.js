/** The cases of every runner: a mesh with real sockets, HTTP, gRPC, errors and functions. */
const grpc = require('@grpc/grpc-js')
const { currentCall, isMeshError, MeshError } = require('inmesh')
const { guard } = require('inmesh/resilience')
const { FakeClock, startTestMesh } = require('inmesh/testing')

const STRING = {
  requestSerialize: (text) => Buffer.from(text),
  requestDeserialize: String,
  responseSerialize: (text) => Buffer.from(text),
  responseDeserialize: String,
}
const SERVICE = { echo: { path: '/shop.Echo/echo', requestStream: false, responseStream: false, ...STRING } }
const EchoClient = grpc.makeGenericClientConstructor(SERVICE, 'Echo')

/** `equal(actual, expected)` and `rejects(promise, Class)` are the runner's. */
exports.cases = (equal, rejects) => {
  let testMesh
  return {
    async before() {
      testMesh = await startTestMesh()
    },
    async after() {
      await testMesh.close()
    },
    async 'calls by HTTP'() {
      await testMesh.serve('inventory', (_request, response) => {
        response.end(JSON.stringify({ asked: currentCall()?.peer?.service }))
      })
      const checkout = await testMesh.join('checkout')
      const response = await checkout.fetch('http://inventory/items/42')
      equal(response instanceof Response, true)
      equal(await response.json(), { asked: 'checkout' })
      equal((await checkout.http('inventory').get('/items/42')).status, 200)
      await rejects(checkout.fetch('http://nobody/', { timeout: '100ms' }), MeshError)
      equal(isMeshError(await checkout.fetch('http://nobody/', { timeout: '100ms' }).catch((error) => error)), true)
    },
    async 'calls by gRPC'() {
      const server = new grpc.Server()
      server.addService(SERVICE, { echo: (call, callback) => callback(null, call.request.toUpperCase()) })
      const echo = await testMesh.join('echo')
      await echo.serveGrpc(server)
      const caller = await testMesh.join('caller')
      const client = caller.grpc(EchoClient, 'echo')
      equal(await client.promises.echo('hello', { timeout: '5s' }), 'HELLO')
    },
    async 'guards functions'() {
      const clock = new FakeClock({ seed: 7 })
      const asked = guard(() => new Promise(() => {}), { timeout: '200ms', clock })()
      clock.advance(200)
      await rejects(asked, MeshError)
      await rejects(
        guard(async () => Promise.reject(new TypeError('wrong')), {})().catch((error) =>
          Promise.reject(error.cause ?? error),
        ),
        TypeError,
      )
    },
  }
}
