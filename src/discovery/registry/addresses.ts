/**
 * The addresses of the registries, and the order in which to try them. Names are resolved for each
 * search, so a changed answer of DNS is followed.
 */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { Clock } from '../../core/clock.ts'
import { hostOf, isLocal, isOnLoopback, labelOf, type RegistryTarget } from './target.ts'

/** The addresses of a name. Rejects if it has none. */
export type ResolveName = (host: string) => Promise<readonly string[]>

/** How long a search waits for DNS. Later answers are for the next search. */
export const LOOKUP_MS = 300
/** Addresses of one name that one search tries. */
const MOST_OF_A_NAME = 16
/** How long a registry that failed, or sent us away, is tried after the others. */
const AVOIDED_MS = 10_000

const resolveName: ResolveName = async (host) => (await lookup(host, { all: true })).map(({ address }) => address)

/** Shared by everything in this process that talks to a registry. */
export class RegistryAddresses {
  /** As given. */
  readonly all: readonly string[]
  readonly #clock: Clock
  readonly #resolve: ResolveName
  /** By label. The one that answered last. */
  #preferred: string | undefined
  /** A registry has said that there are others on its store. */
  #several = false
  /** By label, until when, on the monotonic clock. */
  readonly #avoided = new Map<string, number>()
  /** By name: its addresses when DNS answered last. */
  readonly #known = new Map<string, readonly string[]>()
  readonly #pending = new Map<string, Promise<void>>()

  constructor(all: readonly string[], clock: Clock, resolve: ResolveName = resolveName) {
    this.all = all
    this.#clock = clock
    this.#resolve = resolve
  }

  /** Whether all of them are on loopback. */
  get local(): boolean {
    return this.all.every((url) => isLocal(hostOf(url)))
  }

  /**
   * In the order to try them: the one that answered last, then the others as given. Once a registry
   * has said that it is one of several they come at random, so that processes spread over them;
   * addresses of one name always do. Those that failed of late come last. Without `except`, unless
   * there is no other. Never rejects, and takes 300 ms at most.
   */
  async targets(except?: RegistryTarget): Promise<readonly RegistryTarget[]> {
    const found = (await Promise.all(this.all.map((url) => this.#targetsOf(url)))).flat()
    const now = this.#clock.now()
    for (const [label, untilAt] of this.#avoided) if (untilAt <= now) this.#avoided.delete(label)
    const rankOf = (target: RegistryTarget): number => {
      const label = labelOf(target)
      return this.#avoided.has(label) ? 2 : label === this.#preferred ? 0 : 1
    }
    const unique = [...new Map(found.map((target) => [labelOf(target), target])).values()]
    const mixed = this.#several ? shuffle(unique, this.#clock) : unique
    const ordered = mixed.sort((a, b) => rankOf(a) - rankOf(b))
    if (except === undefined || ordered.length === 1) return ordered
    return ordered.filter((target) => labelOf(target) !== labelOf(except))
  }

  /** Those on loopback, in the same order. */
  async onLoopback(): Promise<readonly RegistryTarget[]> {
    return (await this.targets()).filter(isOnLoopback)
  }

  /**
   * `registries`: how many share its store, as it says. Returns true when that is news: so far all
   * processes began at the first address, so this one is to choose anew, at random.
   */
  answered(target: RegistryTarget, registries = 1): boolean {
    const label = labelOf(target)
    this.#avoided.delete(label)
    const isNews = registries > 1 && !this.#several && this.all.length > 1
    if (registries > 1) this.#several = true
    this.#preferred = isNews ? undefined : label
    return isNews
  }

  /** It does not answer any more, or has sent us away. */
  avoid(target: RegistryTarget): void {
    const label = labelOf(target)
    if (this.#preferred === label) this.#preferred = undefined
    this.#avoided.set(label, this.#clock.now() + AVOIDED_MS)
  }

  async #targetsOf(url: string): Promise<readonly RegistryTarget[]> {
    const host = hostOf(url)
    if (isIP(host) !== 0) return [{ url, ip: undefined }]
    const answered = await this.#lookUp(host)
    const known = shuffle(this.#known.get(host) ?? [], this.#clock).slice(0, MOST_OF_A_NAME)
    const pinned = known.map((ip) => ({ url, ip }))
    if (answered) return known.length === 1 ? [{ url, ip: undefined }] : pinned
    // The connection asks again, and says why when it fails. The last answer may still do.
    return [{ url, ip: undefined }, ...pinned]
  }

  /** Whether DNS has answered in time, and with an address. */
  #lookUp(host: string): Promise<boolean> {
    let answered = false
    let pending = this.#pending.get(host)
    if (pending === undefined) {
      // One at a time: a name server that is silent would take all threads of the process.
      pending = this.#resolve(host)
        .then((ips) => {
          const unique = [...new Set(ips)].filter((ip) => isIP(ip) !== 0)
          if (unique.length > 0) this.#known.set(host, unique)
          else throw new Error('no address')
        })
        .finally(() => this.#pending.delete(host))
      pending.catch(() => undefined)
      this.#pending.set(host, pending)
    }
    return new Promise((resolve) => {
      const finish = (): void => {
        this.#clock.stopTimer(timer)
        resolve(answered)
      }
      const timer = this.#clock.startBackgroundTimer(LOOKUP_MS, finish, undefined)
      pending
        .then(
          () => {
            answered = true
          },
          () => undefined,
        )
        .then(finish)
    })
  }
}

/** A copy in random order. */
function shuffle<T>(all: readonly T[], clock: Clock): T[] {
  const mixed = [...all]
  for (let i = mixed.length - 1; i > 0; i--) {
    const j = Math.floor(clock.random() * (i + 1))
    const one = mixed[i]!
    mixed[i] = mixed[j]!
    mixed[j] = one
  }
  return mixed
}
