import { defineConfig } from 'vitest/config'

/** Checks that install whole projects: `npm run test:nest`, `npm run test:next`. */
export default defineConfig({
  test: {
    include: ['compat/*.check.ts'],
    testTimeout: 120_000,
    hookTimeout: 600_000,
    expect: { poll: { timeout: 30_000 } },
    pool: 'forks',
    maxWorkers: 1,
  },
})
