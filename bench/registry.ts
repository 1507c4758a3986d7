/**
 * What a registry bears: registrations per second, how long a change takes to the last of 1,000 watchers, its memory with 10,000
 * instances, and how soon it is back after kill -9. The registry is a process of its own with its state on disk, clients are real
 * HTTP/2 sessions over mTLS; on a small machine the clients' own work is in the times.
 *
 * node bench/registry.ts [--quick] [--json]
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { createSecureContext } from 'node:tls'
import type { ClientMessage, Instance } from '../src/discovery/wire.ts'
import type { Registry } from '../src/registry/index.ts'
import { instance } from '../test/support/instance.ts'
import { type Credentials, join, request } from '../test/support/registry-session.ts'

/** What is to be reached on a machine of 2 cores. */
const WANTED = { lastWatcherP99Ms: 250, rssMb: 150 }
const PER_SESSION = 100
const SERVICES = 20

interface Told {
  readonly url: string
  readonly roots: readonly string[]
  readonly revision: number
}

/** As it is shipped, if it is built: to run TypeScript costs the process 40 MB. */
const BUILT = new URL('../dist/registry/index.js', import.meta.url)
const REGISTRY = existsSync(BUILT) ? BUILT : new URL('../src/registry/index.ts', import.meta.url)
const PROCESS = new URL('./registry-process.js', import.meta.url)

/** A session that does as little as possible with what it hears. */
class Session {
  readonly #client: ClientHttp2Session
  readonly #stream: ClientHttp2Stream
  readonly #answers = new Map<number, (error: string | undefined) => void>()
  readonly ready: Promise<void>
  #rest = ''
  #ref = 0
  /** Told of every message that is no answer. */
  heard: (line: string) => void = () => {}

  constructor(registry: Told, credentials: Credentials, service: string) {
    const secureContext = contextOf(registry, credentials)
    this.#client = http2.connect(registry.url, { secureContext, servername: 'localhost' })
    this.#stream = this.#client.request({ ':method': 'POST', ':path': '/v1/session' }, { endStream: false })
    this.#stream.setEncoding('utf8')
    this.ready = new Promise((resolve, reject) => {
      this.#client.on('error', reject)
      this.#stream.on('error', reject)
      this.#stream.on('data', (text: string) => {
        const lines = (this.#rest + text).split('\n')
        this.#rest = lines.pop()!
        for (const line of lines) {
          if (line.startsWith('{"type":"welcome"')) resolve()
          else if (line.startsWith('{"type":"done"')) this.#answer(line)
          else if (line.startsWith('{"type":"error"')) this.#answer(line)
          else this.heard(line)
        }
      })
    })
    this.send({ type: 'hello', protocol: 1, service, process: 'bench' })
  }

  send(message: ClientMessage): void {
    this.#stream.write(`${JSON.stringify(message)}\n`)
  }

  register(instance: Instance): Promise<void> {
    const ref = ++this.#ref
    this.send({ type: 'register', ref, instance })
    return new Promise((resolve, reject) => {
      this.#answers.set(ref, (error) => (error === undefined ? resolve() : reject(new Error(error))))
    })
  }

  close(): void {
    this.#client.removeAllListeners('error').on('error', () => {})
    this.#stream.removeAllListeners('error').on('error', () => {})
    this.#client.destroy()
  }

  #answer(line: string): void {
    const { type, ref } = JSON.parse(line) as { type: string; ref?: number }
    if (ref === undefined) throw new Error(line)
    this.#answers.get(ref)!(type === 'done' ? undefined : line)
    this.#answers.delete(ref)
  }
}

const contexts = new Map<string, ReturnType<typeof createSecureContext>>()

function contextOf(registry: Told, { key, cert }: Credentials): ReturnType<typeof createSecureContext> {
  let context = contexts.get(cert)
  if (context === undefined) {
    context = createSecureContext({ key, cert, ca: [...registry.roots] })
    contexts.set(cert, context)
  }
  return context
}

async function start(dataDir: string): Promise<{ child: ChildProcess; told: Told; readyMs: number }> {
  const before = performance.now()
  const child = fork(PROCESS, [REGISTRY.href, dataDir], { execArgv: ['--no-warnings'] })
  const [told] = (await once(child, 'message')) as [Told]
  return { child, told, readyMs: performance.now() - before }
}

async function credentialsOf(told: Told, adminToken: string, service: string): Promise<Credentials> {
  const registry = { ...told, adminToken, dev: false } as unknown as Registry
  const answer = await request(registry, 'POST', '/v1/tokens', { admin: true, body: { service } })
  return join(registry, service, answer.json.token)
}

/** Sessions in groups, so that no handshake waits for too many others. */
async function open(told: Told, n: number, credentials: (i: number) => [string, Credentials]): Promise<Session[]> {
  const sessions: Session[] = []
  for (let i = 0; i < n; i += 25) {
    const group = Array.from({ length: Math.min(25, n - i) }, (_, j) => {
      const [service, own] = credentials(i + j)
      return new Session(told, own, service)
    })
    await Promise.all(group.map((session) => session.ready))
    sessions.push(...group)
  }
  return sessions
}

async function main(): Promise<void> {
  const quick = process.argv.includes('--quick')
  const instances = quick ? 2_000 : 10_000
  const watchers = quick ? 200 : 1_000
  const changes = quick ? 20 : 100
  const directory = mkdtempSync(joinPath(tmpdir(), 'inmesh-bench-'))
  const dataDir = joinPath(directory, 'state')
  let child: ChildProcess | undefined
  try {
    const first = await start(dataDir)
    child = first.child
    const { told } = first
    const adminToken = readFileSync(joinPath(dataDir, 'admin-token'), 'utf8').trim()
    const empty = await rssOf(child)

    const services = Array.from({ length: SERVICES }, (_, i) => `service-${i}`)
    const owners = await Promise.all(services.map((service) => credentialsOf(told, adminToken, service)))
    const own = (i: number): [string, Credentials] => [services[i % SERVICES]!, owners[i % SERVICES]!]
    const registrants = await open(told, instances / PER_SESSION, own)
    const before = performance.now()
    await Promise.all(
      registrants.flatMap((session, i) =>
        Array.from({ length: PER_SESSION }, (_, j) =>
          session.register(instance(services[i % SERVICES]!, `i-${i}-${j}`, { zone: 'zone-a', version: 'v1' })),
        ),
      ),
    )
    const registrationsPerSecond = instances / ((performance.now() - before) / 1_000)
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    const rss = await rssOf(child)

    const watching = await open(told, watchers, own)
    const lasts = await measureChanges(watching, registrants[0]!, services[0]!, changes)
    const rssWatched = await rssOf(child)
    for (const session of [...registrants, ...watching]) session.close()

    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
    const second = await start(dataDir)
    child = second.child
    const registry = { ...second.told, adminToken } as unknown as Registry
    const listed = await request(registry, 'GET', '/v1/services', { admin: true })
    const found = (listed.json.services as { instances: number }[]).reduce((sum, one) => sum + one.instances, 0)
    if (found !== instances) throw new Error(`${found} of ${instances} instances after kill -9`)

    const report = {
      built: REGISTRY === BUILT,
      instances,
      watchers,
      registrationsPerSecond: Math.round(registrationsPerSecond),
      changeToLastWatcherMs: { p50: at(lasts, 0.5), p99: at(lasts, 0.99) },
      rssMb: { empty: round(empty), instances: round(rss), instancesAndWatchers: round(rssWatched) },
      recoveryMs: round(second.readyMs),
    }
    if (process.argv.includes('--json')) console.log(JSON.stringify(report))
    else print(report)
  } finally {
    child?.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  }
}

/** From asking for a change to its arrival at the last watcher, in ms, smallest first. */
async function measureChanges(
  watching: readonly Session[],
  owner: Session,
  service: string,
  changes: number,
): Promise<number[]> {
  let left = 0
  let done = (): void => {}
  const arrived = (line: string): void => {
    if ((line.startsWith('{"type":"delta"') || line.startsWith('{"type":"snapshot"')) && --left === 0) done()
  }
  const all = (): Promise<void> => {
    left = watching.length
    return new Promise((resolve) => {
      done = resolve
    })
  }
  const snapshots = all()
  for (const session of watching) {
    session.heard = arrived
    session.send({ type: 'watch', service })
  }
  await snapshots
  const lasts: number[] = []
  for (let i = 0; i < changes; i++) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    const everywhere = all()
    const before = performance.now()
    await owner.register(instance(service, 'i-0-0', { zone: 'zone-a', version: 'v1', weight: 1 + (i % 2) }))
    await everywhere
    lasts.push(performance.now() - before)
  }
  return lasts.sort((a, b) => a - b)
}

async function rssOf(child: ChildProcess): Promise<number> {
  child.send('memory')
  const [{ rss }] = (await once(child, 'message')) as [{ rss: number }]
  return rss
}

function at(sorted: readonly number[], share: number): number {
  return round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!)
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

function print(report: {
  built: boolean
  instances: number
  watchers: number
  registrationsPerSecond: number
  changeToLastWatcherMs: { p50: number; p99: number }
  rssMb: { empty: number; instances: number; instancesAndWatchers: number }
  recoveryMs: number
}): void {
  const { instances, watchers, changeToLastWatcherMs: change, rssMb } = report
  if (!report.built) console.log('not built (npm run build): memory and recovery include the running of TypeScript')
  console.log(`registrations            ${report.registrationsPerSecond}/s`)
  console.log(
    `change to last of ${watchers}  p50 ${change.p50} ms, p99 ${change.p99} ms (wanted: ${WANTED.lastWatcherP99Ms})`,
  )
  console.log(
    `memory                   ${rssMb.empty} MB empty, ${rssMb.instances} MB with ${instances} instances (wanted: ${WANTED.rssMb}), ${rssMb.instancesAndWatchers} MB with watchers`,
  )
  console.log(`back after kill -9       ${report.recoveryMs} ms`)
}

await main()
