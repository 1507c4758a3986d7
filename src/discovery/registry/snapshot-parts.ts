/**
 * Joins a `snapshot` that does not fit into one line with its `part`s. One that lacks a part is
 * refused whole.
 */
import type { Instance, UnreadableInstance } from '../instance.ts'
import { LIMITS } from '../limits.ts'
import { SnapshotRejected } from '../read-field.ts'
import type { ServerMessage } from './wire.ts'

type Snapshot = Extract<ServerMessage, { type: 'snapshot' }>
type Part = Extract<ServerMessage, { type: 'part' }>

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
