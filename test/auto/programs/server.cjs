// An application that knows nothing of a mesh: Express and grpc-js, in CommonJS.
const express = require('express')
const grpc = require('@grpc/grpc-js')
const { loadSync } = require('@grpc/proto-loader')
const { once } = require('node:events')

const app = express()
app.get('/items/:sku', (request, response) => {
  response.json({ sku: request.params.sku, encrypted: request.socket.encrypted === true, pid: process.pid })
})
app.get('/slow', (request, response) => {
  if (process.argv[3] === 'own-handler') console.log(JSON.stringify({ asked: request.url }))
  setTimeout(() => response.end(String(process.pid)), Number(request.query.ms))
})
const server = app.listen(0, '127.0.0.1')

const { shop } = grpc.loadPackageDefinition(loadSync(process.argv[2]))
const grpcServer = new grpc.Server()
grpcServer.addService(shop.Inventory.service, { get: (_call, callback) => callback(null, { left: 7 }) })
const grpcPort = new Promise((resolve, reject) => {
  const bound = (error, port) => (error ? reject(error) : resolve(port))
  grpcServer.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), bound)
})

if (process.argv[3] === 'own-handler') {
  process.on('SIGTERM', () => {
    console.log(JSON.stringify({ handling: true }))
    server.close((error) => process.exit(error === undefined ? 7 : 8))
  })
}
once(server, 'listening').then(async () => {
  console.log(JSON.stringify({ http: server.address().port, grpc: await grpcPort }))
})
