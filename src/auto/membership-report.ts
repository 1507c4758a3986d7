/** Tells which registry does not answer and why, once, and when this process has joined. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Mesh } from '../mesh/mesh.ts'
import type { Report } from './report.ts'
import { workerName } from './worker-name.ts'

/** A registry that starts beside this process answers within this time. */
const LATE_MS = 2_000
const APPLIED = 'inmesh:snapshot:applied'
const FAILURES = ['inmesh:identity:failed', 'inmesh:registry:unreachable']

/** Returns how to stop, because joining failed. */
export function tellMembership(mesh: Mesh, report: Report): () => void {
  const worker = workerName()
  const named = `${mesh.service}${worker === undefined ? '' : ` (${worker})`}, process ${process.pid},`
  const registries = mesh.registries.join(', ')
  let why = `none of ${registries} has answered`
  let late = false
  const heard = (message: unknown): void => {
    why = (message as { reason: string }).reason.replace(/\.$/, '')
  }
  const stop = (): void => {
    clearTimeout(timer)
    unsubscribe(APPLIED, look)
    for (const event of FAILURES) unsubscribe(event, heard)
  }
  const look = (): void => {
    if (mesh.stale) return
    stop()
    const admin = mesh.adminPort === undefined ? '' : `; admin listener on port ${mesh.adminPort}`
    const line = `${named} has joined the mesh${admin}`
    if (late) report.warn(line)
    else report.tell(line)
  }
  const timer = setTimeout(() => {
    late = true
    report.warn(`${named} has no answer from a registry yet (${registries}), and goes on trying: ${why}`)
  }, LATE_MS).unref()
  subscribe(APPLIED, look)
  for (const event of FAILURES) subscribe(event, heard)
  look()
  return stop
}
