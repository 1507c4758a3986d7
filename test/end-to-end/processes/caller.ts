/**
 * A caller of `inventory` in a separate process: 100 requests a second by HTTP or gRPC, with a
 * ledger that it reports on request.
 */
import { joinMesh } from '../../../src/index.ts'
import { Shop } from '../../rigs/shop.ts'
import { Load } from '../load.ts'
import { obey, options, report } from './parent.ts'

const mesh = await joinMesh(options.mesh)
const inventory = mesh.http('inventory')
const answers: Record<string, number> = {}
const failures: string[] = []
const shop = options.grpc === true ? mesh.grpc(Shop, 'inventory').promises : undefined

async function get(path: string): Promise<void> {
  const response = await inventory.get(path)
  const name = await response.text()
  if (!response.ok) throw new Error(`status ${response.status}`)
  answers[name] = (answers[name] ?? 0) + 1
}

async function ask(): Promise<void> {
  if (shop === undefined) return get('/')
  const { sku = '' } = await shop.get({ sku: 'x' })
  answers[sku] = (answers[sku] ?? 0) + 1
}

const load = new Load(100, ask)
let burst: Promise<unknown> = Promise.resolve()
obey((order) => {
  if (order === 'burst') {
    // More at a time than there are connections.
    const slow = Array.from({ length: 40 }, () => get('/slow?ms=300'))
    burst = Promise.allSettled(slow).then((ended) => {
      for (const one of ended) if (one.status === 'rejected') failures.push(String(one.reason))
    })
    report({})
  } else if (order === 'stop') {
    void Promise.all([burst, load.stop()]).then(() => report({ lost: [...failures, ...load.failures.map(String)] }))
  } else {
    const renewals = mesh.events().filter(({ name }) => name === 'identity:renewed')
    report({ answers, renewals: renewals.map(({ payload }) => payload.rejoined === true) })
  }
})
report({ joined: true })
