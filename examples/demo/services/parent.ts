/**
 * The channel between a demo process and its parent: reports readiness, receives orders, and ends
 * the process with its parent.
 */
import type { Mesh } from 'inmesh'

export interface Command {
  readonly slowness: number
}

/** What one kept-open stream has seen since the process began. */
export interface Stream {
  begun: number
  messages: number
  /** Those that ended without a message. */
  failed: number
  /** Who sent the last message. */
  from?: string
}

export interface Report {
  readonly retries: number
  readonly circuits: Readonly<Record<string, string>>
  readonly stream?: Stream | undefined
}

interface Follower {
  obey?(command: Command): void
  readonly stream?: Stream
}

export function followParent(mesh: Mesh, { obey, stream }: Follower = {}): void {
  process.on('message', (message: Command | 'report') => {
    if (message === 'report') process.send?.({ ...report(mesh), stream })
    else obey?.(message)
  })
  process.on('disconnect', () => process.exit(0))
  process.send?.('ready')
}

export function report(mesh: Mesh): Report {
  const circuits = mesh
    .circuits()
    .map(({ name, closed, opened }) => [name, closed ? 'closed' : opened ? 'open' : 'half-open'])
  return { retries: retriesOf(mesh.metrics()), circuits: Object.fromEntries(circuits) }
}

/** From the Prometheus text, as a scraper would read it. */
function retriesOf(metrics: string): number {
  const lines = metrics.split('\n').filter((line) => line.startsWith('inmesh_client_retries_total{'))
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
}
