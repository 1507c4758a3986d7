/** The addresses of one registry. */

/** Shared by everything in this process that talks to the registry. */
export class RegistryAddresses {
  readonly all: readonly string[]
  #preferred: string | undefined

  constructor(all: readonly string[]) {
    this.all = all
  }

  /** The one that answered last comes first. */
  get inOrder(): readonly string[] {
    const preferred = this.#preferred
    return preferred === undefined ? this.all : [preferred, ...this.all.filter((one) => one !== preferred)]
  }

  /** Those on loopback, in the same order. */
  get onLoopback(): readonly string[] {
    return this.inOrder.filter(isOnLoopback)
  }

  answered(address: string): void {
    this.#preferred = address
  }

  failed(address: string): void {
    if (this.#preferred === address) this.#preferred = undefined
  }
}

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

export function isOnLoopback(address: string): boolean {
  return LOOPBACK.has(new URL(address).hostname)
}
