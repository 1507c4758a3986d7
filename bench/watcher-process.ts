/** A mesh process that watches one service, reports its view of it, and calls another. */
import { joinMesh } from 'inmesh'
import { answer, driver, givenJob } from './measured-process.ts'

export interface WatcherJob {
  readonly registry: string
  readonly called: string
}

const { registry, called } = givenJob<WatcherJob>()
const mesh = await joinMesh({
  service: 'watcher',
  registry,
  stateDir: 'memory',
  handleSignals: false,
  joinTimeout: '30s',
})
const client = mesh.http(called)
await (await client.get('/')).text()

answer({
  ...driver(async () => (await client.get('/items/42')).json()),
  watch: (service: string) => {
    mesh.http(service)
  },
  /** How many endpoints of a service are known. */
  known: (service: string) => {
    const gauge = new RegExp(`^inmesh_client_endpoints\\{[^}]*peer="${service}"[^}]*\\} (\\d+)$`, 'gm')
    return [...mesh.metrics().matchAll(gauge)].reduce((sum, [, count]) => sum + Number(count), 0)
  },
})
