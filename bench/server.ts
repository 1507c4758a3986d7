/**
 * CPU per request of the server door against a bare `node:http` server with the same handler, in one process, in alternating
 * rounds; the load comes from another process. `node bench/server.ts [--seconds 2] [--rounds 3] [--json]`.
 */
import { spawn } from 'node:child_process'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Pool } from 'undici'
import { systemClock } from '../src/core/clock.ts'
import { SILENT } from '../src/core/telemetry.ts'
import type { Identity } from '../src/identity/identity.ts'
import { serverTlsOptions } from '../src/identity/tls-options.ts'
import { RETRY_DEFAULTS, RetryPolicy } from '../src/resilience/retry.ts'
import { RetryBudget } from '../src/resilience/retry-budget.ts'
import type { Stack } from '../src/resilience/stack.ts'
import { compileIntentions } from '../src/server/authorization.ts'
import { serveHttp } from '../src/server/http-server.ts'
import { newAuthority, newIdentity } from '../test/support/certificates.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
    load: { type: 'string' },
  },
})
const CONNECTIONS = 32

/** The other process: as many requests as it can, until it is told to stop. */
async function load(job: { url: string; tls: object | undefined; ms: number }): Promise<void> {
  const connect = job.tls === undefined ? {} : { connect: { ...job.tls, checkServerIdentity: () => undefined } }
  const pool = new Pool(job.url, { connections: CONNECTIONS, ...connect })
  const headers = {
    accept: 'application/json',
    'user-agent': 'bench',
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00',
    'inmesh-timeout-ms': '1900',
  }
  const end = performance.now() + job.ms
  let done = 0
  const worker = async (): Promise<void> => {
    while (performance.now() < end) {
      const { body, statusCode } = await pool.request({ path: '/items/42?full=1', method: 'GET', headers })
      if (statusCode !== 200) throw new Error(`status ${statusCode}`)
      await body.dump()
      done += 1
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, worker))
  await pool.close()
  process.stdout.write(String(done))
}

function handler(_request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '15' })
  response.end('{"quantity":42}')
}

/** CPU microseconds of this process per request while another process asks. */
async function measure(port: number, identity: Identity | undefined, ms: number): Promise<number> {
  const tls = identity && { key: identity.privateKey, cert: identity.certificate, ca: identity.roots }
  const job = JSON.stringify({ url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`, tls, ms })
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), '--load', job], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let out = ''
  child.stdout.on('data', (part) => {
    out += part
  })
  const before = process.cpuUsage()
  await new Promise((resolve) => child.on('close', resolve))
  const { user, system } = process.cpuUsage(before)
  return (user + system) / Number(out)
}

async function main(): Promise<void> {
  const authority = newAuthority()
  const own = newIdentity(authority, 'inventory')
  const caller = newIdentity(authority, 'checkout')
  const budget = new RetryBudget(RETRY_DEFAULTS.budget, systemClock)
  const stack: Stack = {
    timeoutMs: 10_000,
    service: [],
    endpoint: [],
    retry: new RetryPolicy({ ...RETRY_DEFAULTS, attempts: 1 }, budget, systemClock),
    budget,
    cluster: undefined,
    telemetry: SILENT,
    clock: systemClock,
  }
  const authorizer = compileIntentions([{ from: 'checkout', methods: ['GET'], paths: ['/items/*'] }], 'allow')
  const identity = { current: own, onRotate: () => () => {} }
  const dependencies = { service: 'inventory', identity, authorizer, stack }
  const bare = createServer(handler).listen(0)
  const bareTls = createTlsServer(serverTlsOptions(own, { alpnProtocols: ['http/1.1'] }), handler).listen(0)
  const plain = await serveHttp(handler, { mode: 'plaintext' }, dependencies)
  const strict = await serveHttp(handler, { mode: 'strict' }, dependencies)
  const portOf = (server: { address(): unknown }): number => (server.address() as AddressInfo).port
  const subjects = {
    bareHttp: [portOf(bare), undefined],
    meshPlaintext: [plain.port, undefined],
    bareTls: [portOf(bareTls), caller],
    meshStrict: [strict.port, caller],
  } as const
  const best: Record<string, number> = {}
  const ms = Number(values.seconds) * 1_000
  for (let round = 0; round <= Number(values.rounds); round++) {
    for (const [name, [port, as]] of Object.entries(subjects)) {
      const cost = await measure(port, as, ms)
      // The first round warms up.
      if (round > 0) best[name] = Math.min(best[name] ?? Number.POSITIVE_INFINITY, cost)
    }
  }
  const report = {
    microsecondsPerRequest: Object.fromEntries(
      Object.entries(best).map(([name, cost]) => [name, Number(cost.toFixed(1))]),
    ),
    plaintextOverBare: Number((best.meshPlaintext! / best.bareHttp!).toFixed(3)),
    strictOverBareTls: Number((best.meshStrict! / best.bareTls!).toFixed(3)),
  }
  console.log(values.json ? JSON.stringify(report) : report)
  for (const server of [bare, bareTls]) {
    server.close()
    server.closeAllConnections()
  }
  await Promise.all([plain.close(), strict.close()])
}

await (values.load === undefined ? main() : load(JSON.parse(values.load) as Parameters<typeof load>[0]))
