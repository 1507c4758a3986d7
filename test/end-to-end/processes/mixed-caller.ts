/**
 * A caller of `inventory` in turn by GET, POST, unary gRPC of both kinds; of this version or an
 * older one. It reports what it sent, and who answered over which transport.
 */
import type * as Library from '../../../src/index.ts'
import { Shop } from '../../rigs/shop.ts'
import { Load } from '../load.ts'
import { libraryFor, obey, options, report } from './parent.ts'

const { mesh: meshOptions, perSecond, name } = options
const { joinMesh }: typeof Library = await import(libraryFor('index'))
const mesh = await joinMesh(meshOptions)
const inventory = mesh.http('inventory')
const shop = mesh.grpc(Shop, 'inventory').promises
/** Ids of calls that must not be executed twice. */
const once: string[] = []
const seen: Record<string, number> = {}
let begun = 0

function next(number: number): string {
  const id = `${name}-${number}`
  once.push(id)
  return id
}

const read = async (response: { ok: boolean; status: number; text(): Promise<string> }): Promise<string> => {
  const said = await response.text()
  if (!response.ok) throw new Error(`status ${response.status}: ${said}`)
  return said
}

const CALLS: readonly (readonly [string, (number: number) => Promise<string | undefined>])[] = [
  ['http', async () => read(await inventory.get('/'))],
  ['grpc', async () => (await shop.get({ sku: 'x' })).sku],
  ['http', async (number) => read(await inventory.post('/', next(number)))],
  ['grpc', async (number) => (await shop.take({ sku: next(number) })).sku],
]

const load = new Load(perSecond, async (number) => {
  begun += 1
  const [door, call] = CALLS[number % CALLS.length]!
  const said = `${door} ${await call(number)}`
  seen[said] = (seen[said] ?? 0) + 1
})

/** Calls that the metrics of the mesh have counted as ended. */
function counted(): number {
  const ended = /^inmesh_client_requests_total\{.*peer="inventory".*\} (\d+)$/gm
  return [...mesh.metrics().matchAll(ended)].reduce((sum, [, count]) => sum + Number(count), 0)
}

obey(async (order) => {
  if (order === 'seen') report({ seen })
  else {
    await load.stop()
    // A call is counted when all of its answer has arrived, a moment after what its text waits for.
    for (let tries = 0; counted() < begun && tries < 100; tries++)
      await new Promise((resolve) => setTimeout(resolve, 20))
    report({ seen, once, begun, answered: load.succeeded, counted: counted(), lost: load.failures.map(String) })
  }
})
report({ name })
