/**
 * Real etcd, one node or three, on free ports of loopback with data in a temporary directory. Where
 * etcd is not installed, `WITHOUT_ETCD` gives the reason.
 */
import { execFile, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { EtcdNode } from './etcd-node.ts'
import { freePorts } from './free-ports.ts'
import { Gate, type GateState } from './gate.ts'

/** `undefined` where etcd is installed: `describe.skipIf(WITHOUT_ETCD)(withEtcd('title'), ...)`. */
export const WITHOUT_ETCD: string | undefined = whatIsMissing()

/** The title of tests that need etcd; it says so where they are skipped. */
export function withEtcd(title: string): string {
  if (WITHOUT_ETCD === undefined) return title
  console.warn(`${title} (SKIPPED: ${WITHOUT_ETCD})`)
  return `${title} (SKIPPED: ${WITHOUT_ETCD})`
}

function whatIsMissing(): string | undefined {
  try {
    for (const [program, arg] of [
      ['etcd', '--version'],
      ['etcdctl', 'version'],
    ] as const) {
      execFileSync(program, [arg], { stdio: 'ignore', timeout: 20_000, env: { ...process.env, ETCDCTL_API: '3' } })
    }
    return undefined
  } catch {
    return 'etcd is not installed: apt-get install etcd-server etcd-client'
  }
}

export interface EtcdOptions {
  /** @defaultValue 1 */
  readonly nodes?: 1 | 3
  /** Further arguments of etcd, such as `--quota-backend-bytes`. */
  readonly args?: readonly string[]
  /** Files. Clients must show a certificate of `ca`. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string }
  /** Begin with what {@link EtcdCluster.saveSnapshot} wrote. */
  readonly snapshot?: string
  /** Where the data is; removed by `close` only if this is not given. */
  readonly directory?: string
}

/** The paths from one client to all nodes, apart from those of other clients. */
export interface EtcdPaths {
  /** `host:port` of each node, in the order of the nodes. */
  readonly endpoints: readonly string[]
  /** For `--store`. */
  readonly url: string
  readonly gates: readonly Gate[]
  /** Of all gates. */
  set(state: GateState): void
}

const clusters = new Set<EtcdCluster>()
process.once('exit', () => {
  for (const cluster of clusters) cluster.killNow()
})

export class EtcdCluster {
  readonly nodes: readonly EtcdNode[]
  readonly #directory: string
  readonly #keeps: boolean
  readonly #tls: EtcdOptions['tls']
  readonly #gates: Gate[] = []

  private constructor(nodes: readonly EtcdNode[], directory: string, options: EtcdOptions) {
    this.nodes = nodes
    this.#directory = directory
    this.#keeps = options.directory !== undefined
    this.#tls = options.tls
  }

  /** Resolves when each node takes writes. */
  static async start(options: EtcdOptions = {}): Promise<EtcdCluster> {
    const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'inmesh-etcd-'))
    const { nodes: count = 1, tls } = options
    const ports = await freePorts(3 * count)
    const peers = ports.slice(0, count)
    const cluster = peers.map((peer, i) => `n${i}=http://127.0.0.1:${peer}`).join(',')
    const secure =
      tls === undefined
        ? []
        : ['--cert-file', tls.cert, '--key-file', tls.key, '--trusted-ca-file', tls.ca, '--client-cert-auth']
    const nodes = peers.map((peer, i) => {
      const dataDir = join(directory, `n${i}`)
      const own = { client: ports[count + i]!, peer, metrics: ports[2 * count + i]! }
      const args = [...secure, ...(options.args ?? [])]
      return new EtcdNode({
        ...{ name: `n${i}`, dataDir, ports: own, cluster, args },
        scheme: tls === undefined ? 'http' : 'https',
      })
    })
    const started = new EtcdCluster(nodes, directory, options)
    clusters.add(started)
    try {
      if (options.snapshot === undefined) await started.#startNodes()
      else await started.restore(options.snapshot)
    } catch (error) {
      await started.close()
      throw error
    }
    return started
  }

  /** `host:port` of each node, past any gate. */
  get endpoints(): readonly string[] {
    return this.nodes.map((node) => node.endpoint)
  }

  /** For `--store`: `etcd://host:port,host:port`. */
  get url(): string {
    return `etcd://${this.endpoints.join(',')}`
  }

  /** Paths for one client, which a test can close without touching those of others. */
  async paths(): Promise<EtcdPaths> {
    const gates = await Promise.all(this.nodes.map(({ port }) => Gate.open({ host: '127.0.0.1', port })))
    this.#gates.push(...gates)
    const endpoints = gates.map(({ port }) => `127.0.0.1:${port}`)
    const set = (state: GateState): void => {
      for (const gate of gates) gate.set(state)
    }
    return { endpoints, url: `etcd://${endpoints.join(',')}`, gates, set }
  }

  /** Runs etcdctl against all nodes that run. */
  async ctl(...args: string[]): Promise<string> {
    return this.#ctl(
      this.nodes.filter(({ running }) => running).map(({ endpoint }) => endpoint),
      args,
    )
  }

  /** The node that leads; waits until there is one. */
  async leader(): Promise<EtcdNode> {
    for (let tries = 0; ; tries++) {
      const running = this.nodes.filter((node) => node.running)
      const found = await Promise.all(running.map((node) => this.#leads(node)))
      const leader = running.find((_, i) => found[i])
      if (leader !== undefined) return leader
      if (tries === 100) throw new Error('no etcd node leads')
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  async revision(): Promise<number> {
    const answer = JSON.parse(await this.ctl('get', 'none', '-w', 'json')) as { header: { revision: number } }
    return answer.header.revision
  }

  /** Forgets what was before `revision`, physically. @defaultValue the current revision */
  async compact(revision?: number): Promise<void> {
    const { endpoint } = this.nodes.find((node) => node.running)!
    await this.#ctl([endpoint], ['compact', '--physical', String(revision ?? (await this.revision()))])
  }

  /**
   * Writes under `filler/` until the quota of `--quota-backend-bytes` is used up and etcd refuses
   * writes.
   */
  async fill(): Promise<void> {
    const value = 'x'.repeat(1_000_000)
    for (let i = 0; i < 4_000; i++) {
      try {
        await this.#put(`filler/${i}`, value)
      } catch (error) {
        if (String(error).includes('space exceeded')) return
        throw error
      }
    }
    throw new Error('etcd has no quota that 4 GB reach')
  }

  /** Removes the filler, gives the space back and takes the alarm away, as an operator does. */
  async makeRoom(): Promise<void> {
    await this.ctl('del', '--prefix', 'filler/')
    await this.compact()
    for (const { endpoint } of this.nodes.filter(({ running }) => running)) await this.#ctl([endpoint], ['defrag'])
    await this.ctl('alarm', 'disarm')
  }

  async saveSnapshot(file: string): Promise<void> {
    const { endpoint } = this.nodes.find((node) => node.running)!
    await this.#ctl([endpoint], ['snapshot', 'save', file])
  }

  /** Kills all nodes and starts them on what {@link saveSnapshot} wrote, at their ports. */
  async restore(snapshot: string): Promise<void> {
    await this.kill()
    for (const node of this.nodes) await node.restore(snapshot)
    await this.#startNodes()
  }

  /** All nodes. */
  async kill(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()))
  }

  async close(): Promise<void> {
    clusters.delete(this)
    await this.kill()
    await Promise.all(this.#gates.splice(0).map((gate) => gate.close()))
    if (!this.#keeps) rmSync(this.#directory, { recursive: true, force: true })
  }

  /** For the end of this process, which waits for nothing. */
  killNow(): void {
    for (const node of this.nodes) void node.kill()
    if (!this.#keeps) rmSync(this.#directory, { recursive: true, force: true })
  }

  async #startNodes(): Promise<void> {
    for (const node of this.nodes) node.start()
    await Promise.all(this.nodes.map((node) => node.healthy()))
  }

  async #leads(node: EtcdNode): Promise<boolean> {
    try {
      const told = JSON.parse(await this.#ctl([node.endpoint], ['endpoint', 'status', '-w', 'json'])) as [
        { Status: { leader: number; header: { member_id: number } } },
      ]
      return told[0].Status.leader !== 0 && told[0].Status.leader === told[0].Status.header.member_id
    } catch {
      return false
    }
  }

  async #put(key: string, value: string): Promise<void> {
    const running = execFile('etcdctl', this.#args(this.endpoints, ['put', key]), { env: ENVIRONMENT })
    const complaints: string[] = []
    running.stderr!.on('data', (text: string) => complaints.push(text))
    // It reads the value from its input.
    running.stdin!.on('error', () => {}).end(value)
    const [code] = (await once(running, 'close')) as [number]
    if (code !== 0) throw new Error(complaints.join(''))
  }

  async #ctl(endpoints: readonly string[], args: readonly string[]): Promise<string> {
    const options = { env: ENVIRONMENT, timeout: 60_000, maxBuffer: 64_000_000 }
    return (await promisify(execFile)('etcdctl', this.#args(endpoints, args), options)).stdout
  }

  #args(endpoints: readonly string[], args: readonly string[]): string[] {
    const tls = this.#tls
    const scheme = tls === undefined ? 'http' : 'https'
    const secure = tls === undefined ? [] : ['--cacert', tls.ca, '--cert', tls.cert, '--key', tls.key]
    return ['--endpoints', endpoints.map((one) => `${scheme}://${one}`).join(','), ...PATIENT, ...secure, ...args]
  }
}

/** By itself etcdctl gives up after 2 s without a connection, and after 5 s without an answer. */
const PATIENT = ['--dial-timeout', '20s', '--command-timeout', '40s']

/** Nothing that a user's shell tells etcdctl. */
const ENVIRONMENT = { PATH: process.env.PATH, ETCDCTL_API: '3' }
