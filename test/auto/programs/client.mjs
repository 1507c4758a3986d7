// A client that knows nothing of a mesh: fetch, undici, grpc-js and nice-grpc, in ESM. It ends by itself.
import { get } from 'node:http'
import grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import axios from 'axios'
import { createChannel, createClient } from 'nice-grpc'
import { Agent, request, setGlobalDispatcher, fetch as undiciFetch } from 'undici'

const [, , proto, plain] = process.argv
const tell = (client, answer) => console.log(JSON.stringify({ client, answer }))

tell('fetch', await (await fetch('http://inventory.mesh/items/1')).json())
tell('elsewhere', await (await fetch(`${plain}/items/2`)).json())
tell('undici', await (await request('http://inventory.mesh/items/3')).body.json())
setGlobalDispatcher(new Agent({ keepAliveTimeout: 10 }))
tell('undici of the application', await (await undiciFetch('http://inventory:3000/items/4')).json())
tell('axios', (await axios.get('http://inventory.mesh/items/5')).data)
await new Promise((resolve) => {
  get('http://inventory:8080/items/6', async (response) => {
    tell('node:http', JSON.parse((await response.toArray()).join('')))
    resolve()
  })
})
const { shop } = grpc.loadPackageDefinition(loadSync(proto))
const client = new shop.Inventory('inventory.mesh:50051', grpc.credentials.createInsecure())
await new Promise((resolve) => {
  client.get({ sku: 'a' }, (error, answer) => {
    tell('grpc', error?.message ?? answer)
    resolve()
  })
})
const nice = createClient(shop.Inventory.service, createChannel('http://inventory.mesh:50051'))
tell('nice-grpc', await nice.Get({ sku: 'a' }))
