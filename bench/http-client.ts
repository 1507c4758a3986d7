/**
 * What one call costs the client: CPU time (user + system) per call of `undici.request` + body, `http()`, built-in `fetch` and
 * `mesh.fetch`, against a plain HTTP server in another process. Variants are interleaved in rounds; the figure is the median.
 *
 * node bench/http-client.ts [--quick] [--json] [--concurrency 16]
 */
import { fork } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

if (process.argv.includes('--server')) {
  const body = JSON.stringify({
    items: Array.from({ length: 20 }, (_, id) => ({ id, name: `item ${id}`, price: id * 10 })),
  })
  const server = createServer((_req, res) => {
    res.setHeader('content-type', 'application/json')
    res.end(body)
  })
  server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port))
  process.on('disconnect', () => process.exit())
} else await main()

async function main(): Promise<void> {
  const quick = process.argv.includes('--quick')
  const at = process.argv.indexOf('--concurrency')
  const concurrency = at < 0 ? 16 : Number(process.argv[at + 1])
  const calls = quick ? 1_500 : 5_000
  const rounds = quick ? 5 : 9

  const servers = Array.from({ length: 3 }, () => fork(import.meta.filename, ['--server']))
  const ports = await Promise.all(
    servers.map((server) => new Promise<number>((resolve) => server.once('message', (port) => resolve(Number(port))))),
  )
  const { makeRig } = await import('../test/client/client-rig.ts')
  const rig = await makeRig(ports)
  const { Agent, request } = await import('undici')
  const agent = new Agent({ pipelining: 1 })
  const origins = ports.map((port) => `http://127.0.0.1:${port}`)
  let turn = 0
  const origin = (): string => origins[turn++ % origins.length]!

  const variants: Record<string, () => Promise<unknown>> = {
    'undici.request': async () => (await request(`${origin()}/items/42`, { dispatcher: agent })).body.json(),
    'http()': async () => (await rig.http.get('/items/42')).json(),
    'built-in fetch': async () => (await fetch(`${origin()}/items/42`)).json(),
    'mesh.fetch': async () => (await rig.fetch('http://inventory/items/42')).json(),
  }
  const costs = new Map<string, number[]>(Object.keys(variants).map((name) => [name, []]))
  for (let round = -2; round < rounds; round++) {
    for (const [name, call] of Object.entries(variants)) {
      const before = process.cpuUsage()
      await run(call, calls, concurrency)
      const { user, system } = process.cpuUsage(before)
      // The first rounds warm up.
      if (round >= 0) costs.get(name)!.push((user + system) / calls)
    }
  }
  rig.close()
  await agent.close()
  for (const server of servers) server.disconnect()

  const us = Object.fromEntries([...costs].map(([name, samples]) => [name, median(samples)]))
  const ratios = {
    httpOverUndiciRequest: us['http()']! / us['undici.request']!,
    fetchOverBuiltInFetch: us['mesh.fetch']! / us['built-in fetch']!,
  }
  for (const [name, samples] of costs) {
    const sorted = [...samples].sort((a, b) => a - b)
    console.log(
      `${name.padEnd(16)} ${median(samples).toFixed(1).padStart(7)} µs/call  (${sorted[0]!.toFixed(1)} to ${sorted.at(-1)!.toFixed(1)})`,
    )
  }
  if (process.argv.includes('--json')) console.log(JSON.stringify({ concurrency, us, ratios }))
  else for (const [name, ratio] of Object.entries(ratios)) console.log(`${name} ${ratio.toFixed(2)}`)
}

async function run(call: () => Promise<unknown>, calls: number, concurrency: number): Promise<void> {
  let left = calls
  const worker = async (): Promise<void> => {
    while (left-- > 0) await call()
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
}

function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[sorted.length >> 1]!
}
