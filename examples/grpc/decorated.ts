/**
 * A service as a class: its methods are the handlers, and what they call is protected by
 * decorators. Node leaves types out and decorators not, so this one is compiled first:
 * `npx tsc -p examples/grpc && node examples/grpc/dist/decorated.js`.
 */
import { Server, type ServerUnaryCall, type sendUnaryData, status, type UntypedHandleCall } from '@grpc/grpc-js'
import { currentCall, isMeshError, joinMesh } from 'inmesh'
import { circuitBreaker, retry, timeout } from 'inmesh/resilience'
import { InventoryClient, type InventoryServer, InventoryService, type Item, type Stock } from './shop.ts'

/** Slow, and often away; not in the mesh. */
class Warehouse {
  #asked = 0

  @circuitBreaker({ minimumCalls: 2, resetAfter: '1m' })
  @retry({ attempts: 3 })
  @timeout('2s')
  async count(sku: string): Promise<number> {
    this.#asked += 1
    if (sku === 'ghost') throw new Error('there is no such shelf')
    if (this.#asked < 3) throw new Error('the warehouse does not answer')
    return 7
  }
}

class Inventory implements InventoryServer {
  // What ts-proto's interface asks of a class: all its public methods are handlers.
  [method: string]: UntypedHandleCall

  readonly #warehouse = new Warehouse()

  get({ request: { sku } }: ServerUnaryCall<Item, Stock>, callback: sendUnaryData<Stock>): void {
    const inventory = `asked by ${currentCall()?.peer?.service}`
    this.#warehouse.count(sku).then(
      (left) => callback(null, { sku, left, cents: 0, inventory, prices: '' }),
      (error: unknown) => {
        const details = isMeshError(error) ? error.code : String(error)
        callback({ code: status.FAILED_PRECONDITION, details })
      },
    )
  }

  watch(call: Parameters<InventoryServer['watch']>[0]): void {
    call.end()
  }
}

const mesh = await joinMesh({ service: 'inventory' })
const server = new Server()
server.addService(InventoryService, new Inventory())
await mesh.serveGrpc(server)

const inventory = mesh.grpc(InventoryClient, 'inventory')
const { left, inventory: by } = await inventory.promises.get({ sku: 'tea' })
console.log(`${left} left, ${by}`)
for (let call = 1; call <= 3; call++) {
  await inventory.promises.get({ sku: 'ghost' }).catch(({ code, details }) => console.log(status[code], details))
}
await mesh.close()
