/**
 * Drains the servers before any provider of the application is destroyed: requests in flight still
 * need its databases. Nest itself stops its servers after `onModuleDestroy`.
 */
import { Inject, Module, type OnModuleDestroy, Optional } from '@nestjs/common'
import { ModulesContainer } from '@nestjs/core'
import { joined, Mesh } from './mesh-token.ts'

/** Nest destroys the module with the smallest distance first; the root has 1. */
const BEFORE_ALL = -1

export class MeshDrain implements OnModuleDestroy {
  readonly #mesh: Mesh

  constructor(mesh: Mesh | undefined, modules: ModulesContainer) {
    this.#mesh = joined(mesh)
    for (const module of modules.values()) {
      if (module.metatype === MeshDrainModule) module.distance = BEFORE_ALL
    }
  }

  async onModuleDestroy(): Promise<void> {
    // A test may have a fake in its place.
    await this.#mesh.drain?.()
  }
}
Inject(Mesh)(MeshDrain, undefined, 0)
Optional()(MeshDrain, undefined, 0)
Inject(ModulesContainer)(MeshDrain, undefined, 1)

export class MeshDrainModule {}
Module({ providers: [MeshDrain] })(MeshDrainModule)
