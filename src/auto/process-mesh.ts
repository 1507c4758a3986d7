/**
 * The mesh of a process that does not know of it. It is joined when it is first needed, so that
 * `npm` and `tsc`, which inherit the variables, join nothing.
 */
import { keepJoined } from '../mesh/joined-once.ts'
import { observeJoining } from '../mesh/joining.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { OpenedMesh } from '../mesh/open-mesh.ts'
import { type Library, loadLibrary } from './library.ts'
import { tellMembership } from './membership-report.ts'
import type { Report } from './report.ts'
import type { AutoSettings } from './settings.ts'
import { workerName } from './worker-name.ts'

/** After a failure, the next need of the mesh within this time fails as well. */
const AGAIN_MS = 10_000

export class ProcessMesh {
  /** Takes calls, which wait while it joins. `undefined`: not needed yet, or joining failed. */
  current: Mesh | undefined
  readonly #settings: AutoSettings
  readonly #report: Report
  #opening: Promise<OpenedMesh> | undefined
  #left = false
  #failed: { readonly reason: unknown } | undefined

  constructor(settings: AutoSettings, report: Report) {
    this.#settings = settings
    this.#report = report
    observeJoining((opening) => this.#applicationJoins(opening))
  }

  /**
   * As soon as it takes calls, which have their own bounds. The search for a registry goes on, and
   * keeps no process alive.
   *
   * @throws what joinMesh throws
   */
  async open(): Promise<Mesh> {
    return (await this.#opened()).mesh
  }

  /**
   * Once this process has joined. Without a registry it resolves after the `joinTimeout`, and goes
   * on trying; not if the mesh is `required`.
   *
   * @throws what joinMesh throws
   */
  async join(): Promise<Mesh> {
    return (await this.#opened()).joined
  }

  /** Leaves the mesh, if this process has joined it. */
  async close(): Promise<void> {
    this.#left = true
    await this.current?.close()
  }

  async #opened(): Promise<OpenedMesh> {
    if (this.#failed !== undefined) throw this.#failed.reason
    this.#opening ??= this.#keep(this.#open())
    return this.#opening
  }

  async #open(): Promise<OpenedMesh> {
    const loaded = loadLibrary()
    // An `await` in any case would let the program's timers start before the rest has run.
    const { resolveMeshOptions, openMesh }: Library = loaded instanceof Promise ? await loaded : loaded
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
    const opening = openMesh(settings, true)
    // `joinOnce` of the program gives this mesh.
    keepJoined({ settings, mesh: opening.then(({ joined }) => joined), open: undefined, byAuto: true })
    return opening
  }

  #keep(opening: Promise<OpenedMesh>): Promise<OpenedMesh> {
    this.#follow(opening).catch((reason: unknown) => {
      if (this.#left) return
      this.current = undefined
      this.#failed = { reason }
      setTimeout(() => {
        this.#failed = undefined
        if (this.#opening === opening) this.#opening = undefined
      }, AGAIN_MS).unref()
      const message = reason instanceof Error ? reason.message : String(reason)
      this.#report.warn(`this process has not joined the mesh: ${message}`)
    })
    return opening
  }

  async #follow(opening: Promise<OpenedMesh>): Promise<void> {
    const { mesh, joined } = await opening
    this.current = mesh
    const ended = tellMembership(mesh, this.#report)
    await joined.catch((error: unknown) => {
      ended()
      throw error
    })
  }

  /** Two memberships of one process would be two instances. */
  #applicationJoins(opening: Promise<OpenedMesh>): void {
    if (this.#opening === undefined) {
      this.#opening = this.#keep(opening)
      return
    }
    this.#report.warn(
      'joinMesh() was called in a process that inmesh/auto has already meshed: it is in the mesh twice; call it before the first request and the first listen(), or leave out one of the two',
    )
  }
}
