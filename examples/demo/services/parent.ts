/** The thread between a demo process and the one that started it: says when it is ready, takes orders, and ends with it. */
import type { Mesh } from 'inmesh'

export interface Command {
  readonly slowness: number
}

export interface Report {
  readonly retries: number
  readonly circuits: Readonly<Record<string, string>>
}

export function followParent(mesh: Mesh, obey?: (command: Command) => void): void {
  process.on('message', (message: Command | 'report') => {
    if (message === 'report') process.send?.(report(mesh))
    else obey?.(message)
  })
  process.on('disconnect', () => process.exit(0))
  process.send?.('ready')
}

function report(mesh: Mesh): Report {
  const circuits = Object.fromEntries(mesh.circuits().map((circuit) => [circuit.name, circuit.state]))
  return { retries: mesh.retries, circuits }
}
