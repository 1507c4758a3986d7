/**
 * Servers and callers of `inventory` in separate processes, of this version or an older one, and a
 * ledger of each call that must not be executed twice.
 */
import type { Serializable } from 'node:child_process'
import { expect } from 'vitest'
import { freePorts } from '../../rigs/free-ports.ts'
import { eventually, type Process, type Rig, wait } from '../rig.ts'

/** A long look at what answers, so that each kind of call is in it. */
const LOOK_MS = 400

export interface Ports {
  readonly http: number
  readonly grpc: number
}

export interface Account {
  /** Answers by door, instance and transport: `grpc a inmesh/1`. */
  readonly seen: Readonly<Record<string, number>>
  readonly once: readonly string[]
  readonly begun: number
  readonly answered: number
  /** By the metrics of the caller. */
  readonly counted: number
  readonly lost: readonly string[]
}

/** What carries the calls of a process, and which checkout of the library it is of. */
export interface Kind {
  readonly transport?: 'auto' | 'http1'
  readonly library?: string | undefined
}

/** How a process of `service` joins. */
export type Joining = (service: string) => Promise<Readonly<Record<string, Serializable>>>

export class MixedMesh {
  readonly #rig: Rig
  readonly #joining: Joining
  readonly #servers = new Map<string, { process: Process; ports: Ports }>()
  readonly #callers: Process[] = []
  /** Of callers that have ended. */
  readonly accounts: Account[] = []

  constructor(rig: Rig, joining: Joining) {
    this.#rig = rig
    this.#joining = joining
  }

  get ports(): Ports[] {
    return [...this.#servers.values()].map(({ ports }) => ports)
  }

  /** One instance; one that was there before comes back to its ports. */
  async serve(place: string, name: string, kind: Kind = {}, serve: Serializable = {}): Promise<void> {
    const mesh = await this.#member('inventory', place, kind)
    const ports = this.#servers.get(place)?.ports ?? (await newPorts())
    const { library } = kind
    const options = { mesh, library, name, serve, ports, log: this.#rig.path('executed') }
    const process = await this.#rig.start('mixed-server', strip(options))
    this.#servers.set(place, { process, ports: process.messages[0]!.ports as Ports })
  }

  /** An instance leaves as a deployment ends it, and another one takes its place. */
  async replace(place: string, name: string, kind: Kind = {}, serve: Serializable = {}): Promise<void> {
    const { process } = this.#servers.get(place)!
    process.signal('SIGTERM')
    expect((await process.exited).code, process.output).toBe(0)
    await this.serve(place, name, kind, serve)
  }

  async call(name: string, perSecond: number, kind: Kind = {}): Promise<Process> {
    const mesh = await this.#member('checkout', name, kind)
    return this.#keep(this.#rig.start('mixed-caller', strip({ mesh, library: kind.library, name, perSecond })))
  }

  /** Clients that know of no mesh. */
  async callForeign(perSecond: number, curl: boolean): Promise<Process> {
    const ports = this.ports.map(({ http }) => http)
    return this.#keep(this.#rig.start('foreign-caller', { ports, perSecond, curl }))
  }

  /** Ends the calls of one caller; its account stays. */
  async end(caller: Process): Promise<Account> {
    const account = (await caller.ask('stop')) as unknown as Account
    this.accounts.push(account)
    this.#callers.splice(this.#callers.indexOf(caller), 1)
    await caller.kill()
    return account
  }

  /** Who has answered, over which transport, since the caller began. */
  async seen(caller: Process): Promise<Readonly<Record<string, number>>> {
    return ((await caller.ask('seen')) as unknown as Account).seen
  }

  /** The same of calls in a short time from now on. */
  async look(caller: Process): Promise<string[]> {
    const before = await this.seen(caller)
    await wait(LOOK_MS)
    return Object.entries(await this.seen(caller)).flatMap(([said, count]) =>
      count > (before[said] ?? 0) ? [said] : [],
    )
  }

  /** Waits until each of `wanted` begins an answer that `caller` gets. */
  async answers(caller: Process, wanted: readonly string[]): Promise<void> {
    const from = await this.seen(caller)
    let missing = wanted
    await eventually(`answers of ${wanted.join(', ')}`, async () => {
      const seen = await this.seen(caller)
      const fresh = Object.keys(seen).filter((said) => seen[said]! > (from[said] ?? 0))
      missing = wanted.filter((one) => !fresh.some((said) => said.startsWith(one)))
      return missing.length === 0
    }).catch((error: Error) => {
      throw new Error(`${error.message}; missing: ${missing.join(', ')}`)
    })
  }

  /**
   * Ends all callers: each call was answered and counted, and none was executed twice or invented.
   */
  async settle(): Promise<void> {
    for (const caller of [...this.#callers]) await this.end(caller)
    const executed = this.#rig.lines('executed')
    const once = this.accounts.flatMap((account) => account.once)
    expect(this.accounts.flatMap(({ lost }) => lost)).toEqual([])
    for (const { begun, answered, counted } of this.accounts) expect([answered, counted]).toEqual([begun, begun])
    expect(executed.filter((id, i) => executed.indexOf(id) !== i)).toEqual([])
    expect(new Set(executed)).toEqual(new Set(once))
  }

  get answered(): number {
    return this.accounts.reduce((sum, { answered }) => sum + answered, 0)
  }

  async #member(service: string, state: string, { transport }: Kind): Promise<object> {
    const at = { service, stateDir: this.#rig.path(state), drainNotice: '500ms', drainTimeout: '5s' }
    return { ...at, ...(await this.#joining(service)), ...(transport !== undefined && { transport }) }
  }

  async #keep(started: Promise<Process>): Promise<Process> {
    const caller = await started
    this.#callers.push(caller)
    return caller
  }
}

async function newPorts(): Promise<Ports> {
  const [http, grpc] = await freePorts(2)
  return { http: http!, grpc: grpc! }
}

/** What crosses to another process has no `undefined`. */
function strip(options: object): Serializable {
  return JSON.parse(JSON.stringify(options))
}
