/**
 * The registry's process of all benches: speaks as `under-test.ts` does. JavaScript, because
 * running TypeScript costs a process 40 MB, which are none of the registry's. Argument: the options
 * of `startRegistry`, as JSON.
 */
import { existsSync, readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { startRegistry } from 'inmesh/registry'

const given = JSON.parse(process.argv[2])
const limits = { joinsPerSecond: 10_000, signingsPerSecond: 10_000 }
const registry = await startRegistry({ port: 0, log: false, ...limits, ...given })
const pauses = monitorEventLoopDelay({ resolution: 1 })
const answers = {
  cpu: cpuMs,
  memory: residentMb,
  sessions: () => registry.counts.sessions,
  revision: () => registry.revision,
  /** From here on, pauses of the event loop are measured; that costs a timer of 1 ms. */
  watchPauses() {
    pauses.reset()
    pauses.enable()
  },
  longestPauseMs() {
    pauses.disable()
    return pauses.max / 1e6
  },
}
process.on('message', ({ id, ask }) => process.send({ id, told: answers[ask]() ?? null }))
process.on('disconnect', () => process.exit())
const { url, roots, revision, dev } = registry
process.send({ id: 0, told: { url, roots, revision, dev } })

function cpuMs() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

/** As the kernel sees it; elsewhere as Node does. */
function residentMb() {
  const path = '/proc/self/status'
  const found = existsSync(path) ? /VmRSS:\s+(\d+) kB/.exec(readFileSync(path, 'utf8')) : null
  return (found === null ? process.memoryUsage.rss() / 1024 : Number(found[1])) / 1024
}
