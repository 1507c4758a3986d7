/**
 * The same without generated code: `@grpc/proto-loader` reads shop.proto when the program starts,
 * including which methods may be repeated (`idempotency_level`).
 */
import { fileURLToPath } from 'node:url'
import {
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  loadPackageDefinition,
  Server,
  type ServiceClientConstructor,
} from '@grpc/grpc-js'
import { load } from '@grpc/proto-loader'
import { joinMesh } from 'inmesh'

/**
 * What shop.proto has, as far as this program needs it: grpc-js cannot know it. In JavaScript none
 * of this is there.
 */
interface Loaded {
  shop: { Prices: ServiceClientConstructor }
}
interface Item {
  sku: string
}
interface Price {
  cents: number
}
interface Handlers {
  Quote: handleUnaryCall<Item, Price>
  Sum: handleClientStreamingCall<Item, Price>
  Watch: handleServerStreamingCall<Item, Price>
  Bargain: handleBidiStreamingCall<Price, Price>
}

const definition = await load(fileURLToPath(new URL('./shop.proto', import.meta.url)))
const { shop } = loadPackageDefinition(definition) as unknown as Loaded

const handlers: Handlers = {
  Quote({ request }, callback) {
    callback(null, { cents: 100 + request.sku.length })
  },
  Sum(call, callback) {
    let cents = 0
    call.on('data', ({ sku }: Item) => {
      cents += 100 + sku.length
    })
    call.on('end', () => callback(null, { cents }))
  },
  Watch(call) {
    for (const cents of [100, 99, 98]) call.write({ cents })
    call.end()
  },
  Bargain(call) {
    call.on('data', ({ cents }: Price) => call.write({ cents: Math.max(cents, 95) }))
    call.on('end', () => call.end())
  },
}

const mesh = await joinMesh({ service: 'prices' })

const server = new Server()
server.addService(shop.Prices.service, { ...handlers })
await mesh.serveGrpc(server)

const prices = mesh.grpc(shop.Prices, 'prices')

await new Promise<void>((resolve) => {
  prices.quote({ sku: 'tea' }, (error: Error | null, price: Price) => {
    console.log('quote', error ?? price.cents)
    resolve()
  })
})
console.log('quote', (await prices.promises.quote({ sku: 'tea' }, { timeout: '2s' })).cents)
console.log('sum', (await prices.promises.sum([{ sku: 'tea' }, { sku: 'milk' }])).cents)
for await (const price of prices.promises.watch({ sku: 'tea' })) console.log('watch', price.cents)
for await (const price of prices.promises.bargain([{ cents: 80 }, { cents: 96 }])) console.log('bargain', price.cents)

await mesh.close()
