/**
 * Transactions as one transaction of etcd: each nested with its compares, behind a compare of the
 * writer's slot. The slot makes a repeated request harmless.
 */
import { type Compare, MOST_OPERATIONS, type Operation } from '../storage.ts'
import { endOf } from './keys.ts'
import type { CompareRequest, RequestOp, TxnRequest } from './messages.ts'

/** An operation on a key that may vanish with a lease. */
export interface LeasedOperation extends Operation {
  readonly lease?: string
}

export interface Transaction {
  readonly compares: readonly Compare[]
  readonly operations: readonly LeasedOperation[]
}

/** Of etcd's `--max-txn-ops`: each level of nesting is allowed what the one above has left. */
const TXN_OPS = 128
/** Transactions in a group, and operations in each of them; a larger one travels alone. */
const MOST_MEMBERS = 60
const MOST_OF_MEMBER = TXN_OPS - MOST_MEMBERS - 1
/** etcd refuses requests above 1.5 MiB. */
const MOST_BYTES = 1_000_000

/** Collects transactions that have no key in common, so that their order does not matter. */
export class Group<T extends Transaction> {
  readonly members: T[] = []
  readonly #put = new Set<string>()
  readonly #deleted = new Set<string>()
  readonly #compared = new Set<string>()
  readonly #prefixes: string[] = []
  #operations = 0
  #bytes = 0

  /** False: it has to wait for the next group. */
  add(member: T): boolean {
    const { operations, compares } = member
    const bytes = operations.reduce((sum, { key, value = '' }) => sum + 2 * key.length + value.length, 0)
    const first = this.members.length === 0
    if (!first) {
      const large = operations.length > MOST_OF_MEMBER || this.#operations + operations.length > MOST_OPERATIONS
      const leased = [member, this.members[0]!].some((one) => one.operations.some(({ lease }) => lease !== undefined))
      if (large || leased || this.members.length === MOST_MEMBERS || this.#bytes + bytes > MOST_BYTES) return false
      if (this.members[0]!.operations.length > MOST_OF_MEMBER || this.#conflicts(member)) return false
    }
    this.members.push(member)
    this.#operations += operations.length
    this.#bytes += bytes
    for (const { key, value } of operations) (value === undefined ? this.#deleted : this.#put).add(key)
    for (const compare of compares) {
      if ('key' in compare) this.#compared.add(compare.key)
      else this.#prefixes.push(compare.prefix)
    }
    return true
  }

  #conflicts({ compares, operations }: T): boolean {
    const changed = (key: string): boolean => this.#put.has(key) || this.#deleted.has(key)
    for (const { key, value } of operations) {
      // What both delete is deleted once.
      if (this.#put.has(key) || (value !== undefined && this.#deleted.has(key))) return true
      if (this.#compared.has(key) || this.#prefixes.some((prefix) => key.startsWith(prefix))) return true
    }
    return compares.some((compare) => {
      if ('key' in compare) return changed(compare.key)
      return [...this.#put, ...this.#deleted].some((key) => key.startsWith(compare.prefix))
    })
  }
}

export interface Slot {
  readonly key: string
  /** The revision that last changed it; 0: it does not exist. */
  readonly revision: number
  /** What it holds once the group is applied. */
  readonly value: string
}

/** Succeeds once for a value of the slot; otherwise the answer has the slot as it is. */
export function encodeGroup(prefix: string, slot: Slot, members: readonly Transaction[]): TxnRequest {
  const key = Buffer.from(prefix + slot.key)
  const room = TXN_OPS - members.length - 1
  return {
    compare: [{ key, target: 'MOD', result: 'EQUAL', mod_revision: slot.revision }],
    success: [
      { request_put: { key, value: Buffer.from(slot.value) } },
      ...members.map((member) => ({ request_txn: encodeMember(prefix, member, room) })),
    ],
    failure: [{ request_range: { key } }],
  }
}

function encodeMember(prefix: string, { compares, operations }: Transaction, room: number): TxnRequest {
  // etcd puts a key once in a transaction; the last operation is what counts.
  const last = new Map(operations.map((operation) => [operation.key, operation]))
  const encoded = [...last.values()].map((operation) => encodeOperation(prefix, operation))
  return {
    compare: compares.map((compare) => encodeCompare(prefix, compare)),
    success: nest(encoded, compares.length, room),
    failure: [],
  }
}

/** In nested transactions where there are more than one may have. */
function nest(operations: readonly RequestOp[], compares: number, room: number): readonly RequestOp[] {
  if (operations.length <= room) return operations
  for (let parts = 2; ; parts++) {
    const each = Math.ceil(operations.length / parts)
    if (each > room - Math.max(parts, compares)) continue
    return Array.from({ length: parts }, (_, i) => {
      const success = operations.slice(i * each, (i + 1) * each)
      return { request_txn: { compare: [], success, failure: [] } }
    })
  }
}

function encodeOperation(prefix: string, { key, value, lease }: LeasedOperation): RequestOp {
  const bytes = Buffer.from(prefix + key)
  if (value === undefined) return { request_delete_range: { key: bytes } }
  return { request_put: { key: bytes, value: Buffer.from(value), ...(lease !== undefined && { lease }) } }
}

function encodeCompare(prefix: string, compare: Compare): CompareRequest {
  if ('key' in compare) {
    const key = Buffer.from(prefix + compare.key)
    return { key, target: 'MOD', result: 'EQUAL', mod_revision: compare.revision }
  }
  const start = prefix + compare.prefix
  const since = compare.unchangedSince + 1
  return { key: Buffer.from(start), range_end: endOf(start), target: 'MOD', result: 'LESS', mod_revision: since }
}
