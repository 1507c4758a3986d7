/**
 * Runs all benchmarks in turn: `npm run bench -- [--quick] [--json] [--transport
 * auto|http1]`. Each file also runs by itself, after `npm run build`.
 */
import { accessLog } from './access-log.ts'
import { endpoints } from './endpoints.ts'
import { runQuestions } from './harness.ts'
import { herd } from './herd.ts'
import { httpClient } from './http-client.ts'
import { httpPair } from './http-pair.ts'
import { httpServer } from './http-server.ts'
import { httpSpread } from './http-spread.ts'
import { idleEndpoints } from './idle-endpoints.ts'
import { loadReports } from './load-reports.ts'
import { picks } from './picks.ts'
import { policies } from './policies.ts'
import { registry } from './registry.ts'
import { routedCalls } from './routed-calls.ts'
import { routes } from './routes.ts'
import { spans } from './spans.ts'
import { startUp } from './start-up.ts'
import { traffic } from './traffic.ts'

const quick = process.argv.includes('--quick')
// Spans have no target.
await runQuestions([
  httpClient,
  httpSpread,
  httpPair,
  httpServer,
  ...(quick ? [] : [spans, accessLog, loadReports]),
  policies,
  picks,
  routes,
  routedCalls,
  traffic,
  startUp,
  endpoints,
  idleEndpoints,
  registry,
  herd,
])
