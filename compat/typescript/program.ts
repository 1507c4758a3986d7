import { currentCall, isMeshError, joinMesh, type Mesh, MeshError, type MeshFetchInit, type MeshOptions } from 'inmesh'
import { startRegistry } from 'inmesh/registry'
import { circuits, guard, type RetryOptions } from 'inmesh/resilience'
import { FakeClock, startTestMesh } from 'inmesh/testing'
import { type SpanExporter, startTracing } from 'inmesh/tracing'

const options: MeshOptions = { service: 'checkout', stateDir: 'memory' }
const join: (options?: MeshOptions) => Promise<Mesh> = joinMesh
const retry: RetryOptions = { attempts: 3 }
const quote: (sku: string) => Promise<number> = guard(async (sku: string) => sku.length, { timeout: '1s', retry })
// @ts-expect-error no such option
export const wrong: MeshOptions = { services: 'checkout' }
// @ts-expect-error a duration has a unit
export const late = guard(async () => 1, { timeout: '1 second' })

const init: MeshFetchInit = { method: 'PUT', body: 'x', timeout: '300ms', idempotent: true, retry: false }
// @ts-expect-error calls of a mesh have no priorities
export const urgent: MeshFetchInit = { priority: 'high' }

export class OwnError extends MeshError {}

export async function use(mesh: Mesh, exporter: SpanExporter): Promise<string | undefined> {
  const tracing = await startTracing({ serviceName: 'checkout', exporter })
  const response = await mesh.fetch('http://inventory/items/42', init)
  const item: unknown = await (await mesh.http('inventory').get('/items/42', { timeout: '300ms' })).json()
  await tracing.shutdown()
  console.log(join, options, quote, circuits(), isMeshError(item), startRegistry, startTestMesh, FakeClock)
  const caller: string | undefined = currentCall()?.peer?.service
  return response.ok ? caller : undefined
}
