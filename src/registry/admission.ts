/** Limits the number of instances of a service and their total size to what a watcher can read. */

import type { Instance } from '../discovery/instance.ts'
import { LIMITS } from '../discovery/limits.ts'
import { ApiError } from './api/error.ts'
import { instanceBytes, type ServiceEntry } from './service-entry.ts'
import type { RegistryState } from './state.ts'

/**
 * Share of a limit from which on registrations at several registries exclude each other: what they
 * write at the same time is far below the rest.
 */
const TIGHT = 0.95

interface Size {
  readonly instances: number
  readonly bytes: number
}

/** What has been admitted to one service and is being written. */
class Arrivals {
  /** With their sizes in bytes. */
  readonly #instances = new Map<Instance, number>()
  #bytes = 0

  get empty(): boolean {
    return this.#instances.size === 0
  }

  add(instance: Instance): void {
    const bytes = instanceBytes(instance)
    this.#instances.set(instance, bytes)
    this.#bytes += bytes
  }

  remove(instance: Instance): void {
    this.#bytes -= this.#instances.get(instance) ?? 0
    this.#instances.delete(instance)
  }

  /** The service with all of them; too much while one of them is in `state` already. */
  atMost(state: ServiceEntry | undefined): Size {
    return {
      instances: (state?.instances.size ?? 0) + this.#instances.size,
      bytes: (state?.bytes ?? 0) + this.#bytes,
    }
  }

  /** The service with all of them, each counted once. */
  exactly(state: ServiceEntry | undefined): Size {
    const bytesById = new Map<string, number>()
    for (const [{ id }, bytes] of this.#instances) bytesById.set(id, Math.max(bytesById.get(id) ?? 0, bytes))
    let instances = state?.instances.size ?? 0
    let bytes = state?.bytes ?? 0
    for (const [id, arriving] of bytesById) {
      const known = state?.instances.get(id)
      if (known === undefined) instances += 1
      bytes += Math.max(0, arriving - (known === undefined ? 0 : instanceBytes(known.instance)))
    }
    return { instances, bytes }
  }
}

export class Admission {
  readonly #state: RegistryState
  readonly #arriving = new Map<string, Arrivals>()

  constructor(state: RegistryState) {
    this.#state = state
  }

  /**
   * Reserves the place of an instance until the returned function is called. @throws ApiError
   * `limit-exceeded`
   */
  reserve(instance: Instance): () => void {
    const { service } = instance
    const arrivals = this.#arriving.get(service) ?? new Arrivals()
    arrivals.add(instance)
    const refusal = this.#refusal(instance, arrivals)
    if (refusal !== undefined) {
      arrivals.remove(instance)
      throw new ApiError('limit-exceeded', refusal)
    }
    this.#arriving.set(service, arrivals)
    return () => {
      arrivals.remove(instance)
      if (arrivals.empty && this.#arriving.get(service) === arrivals) this.#arriving.delete(service)
    }
  }

  /**
   * Whether the service is so close to a limit that registrations at other registries could exceed
   * it together with this one, which has a reserved place. @throws ApiError `limit-exceeded`, since
   * others took the place
   */
  isTight(instance: Instance): boolean {
    const { service } = instance
    const arrivals = this.#arriving.get(service)
    if (arrivals === undefined) return false
    const refusal = this.#refusal(instance, arrivals)
    if (refusal !== undefined) throw new ApiError('limit-exceeded', refusal)
    return !fits(arrivals.atMost(this.#state.service(service)), TIGHT)
  }

  #refusal(instance: Instance, arrivals: Arrivals): string | undefined {
    const { service, id } = instance
    const state = this.#state.service(service)
    if (fits(arrivals.atMost(state))) return undefined
    const size = arrivals.exactly(state)
    if (fits(size)) return undefined
    const known = state?.instances.get(id)
    const { instancesPerService, bytesPerService } = LIMITS
    if (known === undefined && size.instances > instancesPerService) {
      return `'${service}' has ${instancesPerService} instances already`
    }
    // What grows nothing may always be written: a service over the limit can still change.
    const grows = known === undefined || instanceBytes(instance) > instanceBytes(known.instance)
    if (!grows || size.bytes <= bytesPerService) return undefined
    return `the instances of '${service}' exceed ${bytesPerService} bytes: give its instances less metadata`
  }
}

/** `share`: of the limits. */
function fits({ instances, bytes }: Size, share = 1): boolean {
  return instances <= share * LIMITS.instancesPerService && bytes <= share * LIMITS.bytesPerService
}
