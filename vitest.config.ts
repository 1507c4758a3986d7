import { fileURLToPath } from 'node:url'
import { defaultExclude, defineConfig } from 'vitest/config'

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
  'test/{client,server}/{certificate-end,changed-bundle,denied-caller,denied-server}.test.ts',
  'test/server/http/{server,frameworks,failures,faults,ended-requests,server-events}.test.ts',
  // Identities that end, are denied or trusted no more cut calls off, whatever carries these.
  'test/{client,server}/{certificate-end,changed-bundle,denied-caller,denied-server}.test.ts',
  'test/frameworks/plugins.test.ts',
  'test/client/{checked-lookup,destination-health}.test.ts',
]
const ALL = ['test/**/*.test.ts', 'examples/**/*.test.ts']

const COMPILED = fileURLToPath(new URL('node_modules/.cache/inmesh-tests', import.meta.url))

export default defineConfig({
  test: {
    // Only a failing test comes to the end of these, so they are long enough for a machine with other work to do.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 15_000 } },
    pool: 'forks',
    maxWorkers: 3,
    // Tests start hundreds of processes, each of which would strip the types of the same sources again.
    env: { NODE_COMPILE_CACHE: COMPILED },
    projects: [
      {
        extends: true,
        test: {
          name: 'inmesh',
          include: ALL,
          exclude: [...defaultExclude, ...DOORS],
          provide: { oldestGrpc: false, transport: 'http/1.1' },
        },
      },
      {
        extends: true,
        test: {
          name: 'http/1.1',
          include: DOORS,
          provide: { oldestGrpc: false, transport: 'http/1.1' },
          env: { INMESH_TRANSPORT: 'http1' },
        },
      },
      {
        extends: true,
        test: {
          name: 'inmesh/1',
          include: MUX,
          provide: { oldestGrpc: false, transport: 'inmesh/1' },
          // The default of every process of the run: what its calls prefer, and its servers offer.
          env: { INMESH_TRANSPORT: 'auto' },
        },
      },
      {
        extends: true,
        test: {
          name: 'oldest grpc-js',
          include: ['test/**/grpc/**/*.test.ts', 'test/**/grpc*.test.ts'],
          provide: { oldestGrpc: true, transport: 'http/1.1' },
          env: { INMESH_TRANSPORT: 'http1' },
          setupFiles: ['test/rigs/oldest-grpc-js.ts'],
        },
      },
    ],
  },
})
