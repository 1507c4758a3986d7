/**
 * A gRPC service and its client from generated code (ts-proto): all four kinds of call, first by
 * grpc-js's callbacks and events, then by promises. Only `mesh.grpc` and `mesh.serveGrpc` are the
 * mesh's; the rest is what any program with grpc-js has.
 */
import { once } from 'node:events'
import { Server } from '@grpc/grpc-js'
import { currentCall, joinMesh } from 'inmesh'
import { type Price, PricesClient, type PricesServer, PricesService } from './shop.ts'

const mesh = await joinMesh({ service: 'prices' })

const handlers: PricesServer = {
  quote({ request }, callback) {
    callback(null, { ...priceOf(request.sku), by: `prices, asked by ${currentCall()?.peer?.service}` })
  },
  sum(call, callback) {
    let cents = 0
    call.on('data', ({ sku }) => {
      cents += priceOf(sku).cents
    })
    call.on('end', () => callback(null, { sku: 'all', cents, by: 'prices' }))
  },
  watch(call) {
    for (const off of [0, 1, 2]) call.write({ ...priceOf(call.request.sku), cents: 100 - off })
    call.end()
  },
  bargain(call) {
    call.on('data', (offer: Price) => call.write({ ...offer, cents: Math.max(offer.cents, 95), by: 'prices' }))
    call.on('end', () => call.end())
  },
}

function priceOf(sku: string): Price {
  return { sku, cents: 100 + sku.length, by: 'prices' }
}

const server = new Server()
server.addService(PricesService, handlers)
await mesh.serveGrpc(server) // mTLS, on a free port that the registry tells the callers

// ts-proto leaves `idempotency_level` out of what it generates, so it is said here.
const prices = mesh.grpc(PricesClient, 'prices', { idempotent: ['quote', 'watch'] })

// Callbacks and events, as in any client of grpc-js.
await new Promise<void>((resolve) => {
  prices.quote({ sku: 'tea' }, (error, price) => {
    console.log('quote', error?.code ?? `${price.cents} by ${price.by}`)
    resolve()
  })
})
const sum = prices.sum((error, price) => console.log('sum', error?.code ?? price.cents))
for (const sku of ['tea', 'milk']) sum.write({ sku })
sum.end()
await once(sum, 'status')
const watched = prices.watch({ sku: 'tea' })
watched.on('data', ({ cents }: Price) => console.log('watch', cents))
await once(watched, 'end')
const bargained = prices.bargain()
bargained.on('data', ({ cents }: Price) => console.log('bargain', cents))
bargained.write({ sku: 'tea', cents: 80, by: 'me' })
bargained.end()
await once(bargained, 'end')

// The same as promises, each call with its own bounds.
const { cents } = await prices.promises.quote({ sku: 'tea' }, { timeout: '2s' })
console.log('quote', cents)
console.log('sum', (await prices.promises.sum([{ sku: 'tea' }, { sku: 'milk' }])).cents)
for await (const price of prices.promises.watch({ sku: 'tea' })) {
  console.log('watch', price.cents)
  if (price.cents < 100) break // ends the call, here and in the handler
}
for await (const price of prices.promises.bargain(offers())) console.log('bargain', price.cents)

async function* offers(): AsyncGenerator<Price> {
  for (const cents of [80, 96]) yield { sku: 'tea', cents, by: 'me' }
}

await mesh.close()
