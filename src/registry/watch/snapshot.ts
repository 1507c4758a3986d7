/**
 * A service as a whole, as the registry tells it to a watcher. It is encoded in steps, because a
 * large service takes longer than the event loop may stand still.
 */
import { LIMITS } from '../../discovery/limits.ts'
import type { ServerMessage } from '../../discovery/registry/wire.ts'
import type { StoredInstance } from '../service-entry.ts'

type Snapshot = Extract<ServerMessage, { type: 'snapshot' }>

/** What a snapshot says besides its instances. */
export type SnapshotHead = Omit<Snapshot, 'instances' | 'parts'>

export class EncodedSnapshot {
  readonly head: SnapshotHead
  /** When it was begun, on the monotonic clock. */
  readonly at: number
  /** Empty until it is complete. */
  lines: readonly Buffer[] = []
  readonly #left: Iterator<StoredInstance>
  /** Of instances in JSON; each fits into a part. */
  readonly #groups: string[] = []
  #group: string[] = []
  #groupBytes = 0
  #bytes = 0

  /** `records` are the ones at this moment: later changes of the service are not among them. */
  constructor(head: SnapshotHead, records: readonly StoredInstance[], at: number) {
    this.head = head
    this.at = at
    this.#left = records[Symbol.iterator]()
  }

  get isComplete(): boolean {
    return this.lines.length > 0
  }

  /** Whether it took more than one step. */
  get isLarge(): boolean {
    return this.#bytes > LIMITS.partBytes
  }

  /** Encodes about 1 MiB. */
  step(): void {
    let stepBytes = 0
    while (stepBytes < LIMITS.partBytes) {
      const { value, done } = this.#left.next()
      if (done === true) {
        this.#finish()
        return
      }
      const text = JSON.stringify(value.instance)
      const bytes = Buffer.byteLength(text) + 1
      if (this.#groupBytes > 0 && this.#groupBytes + bytes > LIMITS.partBytes) this.#closeGroup()
      this.#group.push(text)
      this.#groupBytes += bytes
      this.#bytes += bytes
      stepBytes += bytes
    }
  }

  #closeGroup(): void {
    this.#groups.push(this.#group.join(','))
    this.#group = []
    this.#groupBytes = 0
  }

  #finish(): void {
    this.#closeGroup()
    const groups = this.#groups
    const { service, revision } = this.head
    if (this.#bytes <= LIMITS.lineBytes - LIMITS.headBytes) {
      this.lines = [line(this.head, groups.join(','))]
      return
    }
    this.lines = groups.map((group, i) =>
      i === 0
        ? line({ ...this.head, parts: groups.length - 1 }, group)
        : line({ type: 'part', service, revision, part: i }, group),
    )
  }
}

function line(head: object, instances: string): Buffer {
  return Buffer.from(`${JSON.stringify(head).slice(0, -1)},"instances":[${instances}]}\n`)
}
