/** The store that several registries share: one node of etcd, if it is installed. */
import { execFileSync } from 'node:child_process'

/** What a user reads who has none. */
export const NO_ETCD = 'several registries share a store in etcd, which is not installed: apt-get install etcd-server'

export function hasEtcd(): boolean {
  try {
    execFileSync('etcd', ['--version'], { stdio: 'ignore', timeout: 10_000 })
    return true
  } catch {
    return false
  }
}

/** Of a node by itself on loopback. */
export function etcdArguments(directory: string, port: number, peerPort: number): string[] {
  const client = `http://127.0.0.1:${port}`
  const peer = `http://127.0.0.1:${peerPort}`
  return [
    ...['--data-dir', directory, '--logger', 'zap', '--log-level', 'warn'],
    ...['--listen-client-urls', client, '--advertise-client-urls', client],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
  ]
}

/** Whether the node at `port` takes writes. */
export async function isHealthy(port: number): Promise<boolean> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(5_000) })
    return ((await answer.json()) as { health: string }).health === 'true'
  } catch {
    return false
  }
}
