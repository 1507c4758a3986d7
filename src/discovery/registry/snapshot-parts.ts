/**
 * Splits a snapshot that does not fit into one line into a `snapshot` and its `part`s, and joins
 * them again. A snapshot that lacks a part is refused whole.
 */
import type { Instance, UnreadableInstance } from '../instance.ts'
import { LIMITS } from '../limits.ts'
import { SnapshotRejected } from '../read-field.ts'
import type { ServerMessage } from './wire.ts'

type Snapshot = Extract<ServerMessage, { type: 'snapshot' }>
type Part = Extract<ServerMessage, { type: 'part' }>

/** The messages of a snapshot, in order. `bytesOf`: of one instance as JSON. */
export function splitSnapshot(snapshot: Snapshot, bytesOf: (instance: Instance) => number): (Snapshot | Part)[] {
  const { instances, service, revision } = snapshot
  const groups: Instance[][] = [[]]
  let total = 0
  let bytes = 0
  for (const instance of instances) {
    const more = bytesOf(instance) + 1
    total += more
    if (bytes > 0 && bytes + more > LIMITS.partBytes) {
      groups.push([])
      bytes = 0
    }
    bytes += more
    groups.at(-1)!.push(instance)
  }
  if (total <= LIMITS.lineBytes - LIMITS.headBytes) return [snapshot]
  const [first, ...rest] = groups
  return [
    { ...snapshot, instances: first!, parts: rest.length },
    ...rest.map((group, i): Part => ({ type: 'part', service, revision, part: i + 1, instances: group })),
  ]
}

/** Puts the snapshots of one session together. */
export class SnapshotParts {
  #first: Snapshot | undefined
  readonly #ids = new Set<string>()
  #instances: Instance[] = []
  #unread: UnreadableInstance[] = []
  #part = 0

  /** The whole snapshot, or `undefined` while parts are missing. @throws SnapshotRejected */
  take(message: Snapshot | Part): Snapshot | undefined {
    if (message.type === 'snapshot') {
      this.#forget()
      if (message.parts === undefined || message.parts === 0) return message
      this.#first = message
    } else {
      const expected = this.#first
      if (expected?.service !== message.service || expected.revision !== message.revision) {
        // Of a snapshot that was refused before, and told then.
        return undefined
      }
      if (message.part !== this.#part + 1) throw this.#refuse(`part ${message.part} after part ${this.#part}`)
      this.#part = message.part
    }
    for (const instance of message.instances) {
      if (this.#ids.has(instance.id)) throw this.#refuse(`id ${instance.id} twice`)
      this.#ids.add(instance.id)
    }
    if (this.#ids.size > LIMITS.instancesPerService) throw this.#refuse(`more than ${LIMITS.instancesPerService}`)
    this.#instances.push(...message.instances)
    this.#unread.push(...(message.unread ?? []))
    const first = this.#first!
    if (this.#part < first.parts!) return undefined
    const { parts: _parts, ...whole } = first
    const instances = Object.freeze(this.#instances)
    const unread = this.#unread
    this.#forget()
    return { ...whole, instances, ...(unread.length > 0 && { unread }) }
  }

  #refuse(reason: string): SnapshotRejected {
    this.#forget()
    return new SnapshotRejected(`instances: ${reason}`)
  }

  #forget(): void {
    this.#first = undefined
    this.#instances = []
    this.#unread = []
    this.#ids.clear()
    this.#part = 0
  }
}
