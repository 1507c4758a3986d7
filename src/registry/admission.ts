/** How many instances a service may have, and how large they may be together: no more than a watcher can read. */
import { LIMITS } from '../discovery/limits.ts'
import type { Instance } from '../discovery/wire.ts'
import { ApiError } from './api-error.ts'
import { instanceBytes, type RegistryState } from './state.ts'

interface Arriving {
  instances: number
  bytes: number
}

export class Admission {
  readonly #state: RegistryState
  /** By service: admitted and not yet written. */
  readonly #arriving = new Map<string, Arriving>()

  constructor(state: RegistryState) {
    this.#state = state
  }

  /** Reserves the place of an instance until the returned function is called. @throws ApiError `limit-exceeded` */
  reserve(instance: Instance): () => void {
    const { service, id } = instance
    const state = this.#state.service(service)
    const known = state?.instances.get(id)
    const added = {
      instances: known === undefined ? 1 : 0,
      bytes: instanceBytes(instance) - (known === undefined ? 0 : instanceBytes(known.instance)),
    }
    const arriving = this.#arriving.get(service) ?? { instances: 0, bytes: 0 }
    const { instancesPerService, bytesPerService } = LIMITS
    if (added.instances + (state?.instances.size ?? 0) + arriving.instances > instancesPerService) {
      throw new ApiError('limit-exceeded', `'${service}' has ${instancesPerService} instances already`)
    }
    if (added.bytes > 0 && added.bytes + (state?.bytes ?? 0) + arriving.bytes > bytesPerService) {
      const hint = 'give its instances less metadata'
      throw new ApiError('limit-exceeded', `the instances of '${service}' exceed ${bytesPerService} bytes: ${hint}`)
    }
    arriving.instances += added.instances
    arriving.bytes += added.bytes
    this.#arriving.set(service, arriving)
    return () => {
      arriving.instances -= added.instances
      arriving.bytes -= added.bytes
      if (arriving.instances === 0 && arriving.bytes === 0) this.#arriving.delete(service)
    }
  }
}
