/**
 * The mesh of a process that does not know of it. It is joined when it is first needed, so that
 * `npm` and `tsc`, which inherit the variables, join nothing.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { observeJoining } from '../mesh/joining.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Report } from './report.ts'
import type { AutoSettings } from './settings.ts'
import { workerName } from './worker-name.ts'

/** After a failure, the next need of the mesh within this time fails as well. */
const AGAIN_MS = 10_000
const APPLIED = 'inmesh:snapshot:applied'

export class ProcessMesh {
  /** `undefined`: not joined yet, or closed. */
  current: Mesh | undefined
  readonly #settings: AutoSettings
  readonly #report: Report
  readonly #joined: (() => void)[] = []
  #joining: Promise<Mesh> | undefined

  constructor(settings: AutoSettings, report: Report) {
    this.#settings = settings
    this.#report = report
    observeJoining((joining) => this.#applicationJoins(joining))
  }

  /** Calls `listener` once this process has joined. */
  onJoined(listener: () => void): void {
    this.#joined.push(listener)
  }

  /**
   * Without a registry it resolves after the `joinTimeout`, and goes on trying; not if the mesh is
   * `required`.
   *
   * @throws what joinMesh throws
   */
  join(): Promise<Mesh> {
    this.#joining ??= this.#keep(this.#join())
    return this.#joining
  }

  /** Leaves the mesh, if this process has joined it. */
  async close(): Promise<void> {
    await this.current?.close()
  }

  async #join(): Promise<Mesh> {
    const [{ resolveMeshOptions }, { startMesh }] = await Promise.all([
      import('../mesh/resolve-options.ts'),
      import('../mesh/mesh.ts'),
    ])
    const worker = workerName()
    const settings = resolveMeshOptions({
      handleSignals: false,
      ...(!this.#settings.required && process.env.INMESH_START_WITHOUT_REGISTRY === undefined
        ? { startWithoutRegistry: true }
        : {}),
      ...(worker !== undefined && { metadata: { worker } }),
      // Workers cannot share the port.
      ...(worker !== undefined && process.env.INMESH_ADMIN_PORT && { adminPort: 0 }),
    })
    return startMesh(settings)
  }

  #keep(joining: Promise<Mesh>): Promise<Mesh> {
    joining.then(
      (mesh) => {
        this.current = mesh
        const worker = workerName()
        const admin = mesh.adminPort === undefined ? '' : `; admin listener on port ${mesh.adminPort}`
        const named = `${mesh.service}${worker === undefined ? '' : ` (${worker})`}`
        const tell = (state: string): void => this.#report.tell(`${named}, process ${process.pid}, ${state}`)
        const joined = (): void => tell(`has joined the mesh${admin}`)
        if (mesh.stale) {
          tell(`has no answer from a registry yet (${mesh.registries.join(', ')}), and goes on trying`)
          onceFresh(mesh, joined)
        } else joined()
        for (const listener of this.#joined) listener()
      },
      (error: unknown) => {
        setTimeout(() => {
          if (this.#joining === joining) this.#joining = undefined
        }, AGAIN_MS).unref()
        const reason = error instanceof Error ? error.message : String(error)
        this.#report.warn(`this process has not joined the mesh: ${reason}`)
      },
    )
    return joining
  }

  /** Two memberships of one process would be two instances. */
  #applicationJoins(joining: Promise<Mesh>): void {
    if (this.#joining === undefined) {
      this.#joining = this.#keep(joining)
      return
    }
    this.#report.warn(
      'joinMesh() was called in a process that inmesh/auto has already meshed: it is in the mesh twice; call it before the first request and the first listen(), or leave out one of the two',
    )
  }
}

/** Calls `listener` once a registry has sent what is in force. */
function onceFresh(mesh: Mesh, listener: () => void): void {
  const look = (): void => {
    if (mesh.stale) return
    unsubscribe(APPLIED, look)
    listener()
  }
  subscribe(APPLIED, look)
}
