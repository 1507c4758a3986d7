import { defineConfig } from 'vitest/config'

declare module 'vitest' {
  interface ProvidedContext {
    /** Whether this run is against the oldest grpc-js that we take. */
    oldestGrpc: boolean
  }
}

const ALL = ['test/**/*.test.ts', 'examples/**/*.test.ts']

export default defineConfig({
  test: {
    // Only a failing test comes to the end of these, so they are long enough for a machine with other work to do.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 15_000 } },
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      { extends: true, test: { name: 'inmesh', include: ALL, provide: { oldestGrpc: false } } },
      {
        extends: true,
        test: {
          name: 'oldest grpc-js',
          include: ['test/**/grpc/**/*.test.ts', 'test/**/grpc*.test.ts'],
          provide: { oldestGrpc: true },
          setupFiles: ['test/rigs/oldest-grpc-js.ts'],
        },
      },
    ],
  },
})
