import { fileURLToPath } from 'node:url'
import { defaultExclude, defineConfig, type TestProjectInlineConfiguration } from 'vitest/config'

declare module 'vitest' {
  interface ProvidedContext {
    /** Whether this run is against the oldest grpc-js that we take. */
    oldestGrpc: boolean
    /** What carries the calls of this run. */
    transport: 'http/1.1' | 'inmesh/1'
  }
}

/** What a single door does, over each transport by itself. */
const DOORS = ['test/{client,server}/{http,grpc}/**/*.test.ts']
/** Of these, those that run over `inmesh/1`, too. The others speak HTTP/1.1 or HTTP/2 as such. */
const MUX = [
  'test/{client,server}/grpc/**/*.test.ts',
  'test/client/http/**/*.test.ts',
  'test/server/http/{server,frameworks,failures,faults,ended-requests,server-events}.test.ts',
  // Identities that end, are denied or trusted no more cut calls off, whatever carries these.
  'test/{client,server}/{certificate-end,changed-bundle,denied-caller,denied-server}.test.ts',
  'test/frameworks/plugins.test.ts',
  'test/client/{checked-lookup,destination-health}.test.ts',
]
const OLDEST_GRPC = ['test/**/grpc/**/*.test.ts', 'test/**/grpc*.test.ts']
/** The other processes of a test have the newest. */
const OLDEST_ALONE = [
  'test/end-to-end/grpc-{instrumentation,libraries,python}.test.ts',
  'test/client/grpc/conformance.test.ts',
]
const ALL = ['test/**/*.test.ts', 'examples/**/*.test.ts']

/** Doors that look at what a process shares. */
const DOORS_ALONE = ['test/client/grpc/conformance.test.ts', 'test/client/http/fetch/unmade-response.test.ts']
/**
 * They start processes, or see or change what the tests of a process share: modules, garbage,
 * sockets. All others share processes, because a new one costs about a second of CPU time.
 */
const ALONE = [
  'examples/**/*.test.ts',
  'test/{auto,cli,docs,end-to-end,fuzz,package,ui}/**/*.test.ts',
  'test/frameworks/nest/**/*.test.ts',
  'test/mesh/policies.test.ts',
  'test/registry/strangers.test.ts',
  'test/registry/storage/etcd/limits.test.ts',
  'test/telemetry/hystrix/**/*.test.ts',
  'test/telemetry/meter-export.test.ts',
]

// Tests start hundreds of processes, each of which would strip the types of the same sources again.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL('node_modules/.cache/inmesh-tests', import.meta.url))

type Settings = NonNullable<TestProjectInlineConfiguration['test']>

function project(name: string, isolate: boolean, include: string[], exclude: string[], settings: Settings) {
  // The longest come first. With ten processes each they keep two cores busy; the others wait most
  // of the time.
  const order = isolate
    ? { maxWorkers: 3, sequence: { groupOrder: 0 } }
    : { maxWorkers: 5, sequence: { groupOrder: 1 } }
  const test = { name, isolate, include, exclude: [...defaultExclude, ...exclude], ...order, ...settings }
  return { extends: true as const, test }
}

const HTTP1: Settings = {
  provide: { oldestGrpc: false, transport: 'http/1.1' },
}
const EACH_HTTP1: Settings = { ...HTTP1, env: { INMESH_TRANSPORT: 'http1' } }
const EACH_MUX: Settings = {
  provide: { oldestGrpc: false, transport: 'inmesh/1' },
  // The default of every process of the run: what its calls prefer, and its servers offer.
  env: { INMESH_TRANSPORT: 'auto' },
}
const OLDEST: Settings = {
  provide: { oldestGrpc: true, transport: 'http/1.1' },
  env: { INMESH_TRANSPORT: 'http1' },
  setupFiles: ['test/rigs/oldest-grpc-js.ts'],
}

export default defineConfig({
  test: {
    // Only a failing test comes to the end of these, so they are long enough for a machine with other work to do.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 15_000 } },
    pool: 'forks',
    projects: [
      project('alone', true, ALONE, DOORS, HTTP1),
      project('alone over http/1.1', true, DOORS_ALONE, [], EACH_HTTP1),
      project('alone over inmesh/1', true, DOORS_ALONE, [], EACH_MUX),
      project('oldest grpc-js alone', true, OLDEST_ALONE, [], OLDEST),
      project('http/1.1', false, DOORS, DOORS_ALONE, EACH_HTTP1),
      project('inmesh', false, ALL, [...DOORS, ...ALONE], HTTP1),
      project('inmesh/1', false, MUX, DOORS_ALONE, EACH_MUX),
      project('oldest grpc-js', false, OLDEST_GRPC, ['test/end-to-end/**', ...DOORS_ALONE], OLDEST),
    ],
  },
})
