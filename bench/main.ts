/**
 * Runs all benchmarks in turn: `npm run bench -- [--quick] [--json]`. Each file also runs by
 * itself, after `npm run build`.
 */
import { endpoints } from './endpoints.ts'
import { runQuestions } from './harness.ts'
import { herd } from './herd.ts'
import { httpClient } from './http-client.ts'
import { httpServer } from './http-server.ts'
import { policies } from './policies.ts'
import { registry } from './registry.ts'
import { routedCalls } from './routed-calls.ts'
import { routes } from './routes.ts'
import { spans } from './spans.ts'
import { startUp } from './start-up.ts'

const quick = process.argv.includes('--quick')
// Spans have no target.
await runQuestions([
  httpClient,
  httpServer,
  ...(quick ? [] : [spans]),
  policies,
  routes,
  routedCalls,
  startUp,
  endpoints,
  registry,
  herd,
])
