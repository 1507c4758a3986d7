/** `MeshModule`: joins while Nest creates its providers, and leaves with the application. */
import {
  type ConfigurableModuleAsyncOptions,
  ConfigurableModuleBuilder,
  type DynamicModule,
  type FactoryProvider,
  Global,
  Inject,
  Logger,
  Module,
  type OnApplicationShutdown,
  Optional,
} from '@nestjs/common'
import { ModulesContainer } from '@nestjs/core'
import { joinMesh } from '../../mesh/join-mesh.ts'
import type { MeshOptions } from '../../mesh/options.ts'
import { resolveMeshOptions } from '../../mesh/resolve-options.ts'
import { formatDuration } from '../../options/duration.ts'
import { OptionsError, show } from '../../options/fields.ts'
import { CLIENTS } from './clients.ts'
import { MeshDrainModule } from './drain.ts'
import { joined, Mesh } from './mesh-token.ts'

/**
 * The options of `joinMesh`; most can come from an `INMESH_*` variable. `handleSignals` says
 * whether `serveNest` enables Nest's shutdown hooks for SIGTERM and Ctrl-C. @defaultValue true
 */
export interface MeshModuleOptions extends MeshOptions {}

/** The options of the mesh from a factory, a class or a provider, in the way of Nest's modules. */
export type MeshModuleAsyncOptions = ConfigurableModuleAsyncOptions<MeshModuleOptions, 'createMeshOptions'>

/** A join that takes longer says what it waits for. */
const SLOW_JOIN_MS = 1_000

const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } = new ConfigurableModuleBuilder<MeshModuleOptions>({
  moduleName: 'Mesh',
})
  .setClassMethodName('forRoot')
  .setFactoryMethodName('createMeshOptions')
  .build()

export { MODULE_OPTIONS_TOKEN }

const MESH: FactoryProvider<Promise<Mesh>> = {
  provide: Mesh,
  inject: [MODULE_OPTIONS_TOKEN, ModulesContainer],
  useFactory: async (options: MeshModuleOptions, modules: ModulesContainer) => {
    assertOneRoot(modules)
    return join(options)
  },
}

/**
 * Joins the mesh when the application is created, and leaves it when the application is closed:
 * first its servers drain, then Nest destroys its providers, then the mesh is closed. Import it
 * once, with `forRoot` or `forRootAsync`, in the root module; it is global.
 *
 * @example
 * ```ts
 * @Module({ imports: [MeshModule.forRoot({ service: 'orders' })], controllers: [Orders] })
 * export class AppModule {}
 *
 * const app = await NestFactory.create(AppModule)
 * await serveNest(app, { port: 8080 })
 * ```
 */
export class MeshModule implements OnApplicationShutdown {
  readonly #mesh: Mesh

  /** @internal */
  constructor(mesh?: Mesh) {
    this.#mesh = joined(mesh)
  }

  /**
   * @param options - of `joinMesh`; without them, `INMESH_SERVICE` and others say it
   * @throws OptionsError and MeshError, as `joinMesh`, when the application is created
   */
  static forRoot(options: MeshModuleOptions = {}): DynamicModule {
    return asRoot(ConfigurableModuleClass.forRoot(options))
  }

  /**
   * @throws OptionsError if there is neither `useFactory` nor `useClass` nor `useExisting`
   * @example
   * ```ts
   * MeshModule.forRootAsync({
   *   imports: [ConfigModule],
   *   inject: [ConfigService],
   *   useFactory: (config: ConfigService) => ({ service: 'orders', registry: config.get('REGISTRY') }),
   * })
   * ```
   */
  static forRootAsync(options: MeshModuleAsyncOptions): DynamicModule {
    const sources = ['useFactory', 'useClass', 'useExisting'] as const
    if (sources.every((source) => typeof options?.[source] !== 'function')) {
      const message = `expected useFactory, useClass or useExisting, got ${show(options)}`
      throw new OptionsError('MeshModule.forRootAsync', [{ path: [], message }])
    }
    return asRoot(ConfigurableModuleClass.forRootAsync(options))
  }

  async onApplicationShutdown(): Promise<void> {
    // A test may have a fake in its place.
    await this.#mesh.close?.()
  }
}
Inject(Mesh)(MeshModule, undefined, 0)
Optional()(MeshModule, undefined, 0)
Global()(MeshModule)
Module({ imports: [MeshDrainModule], providers: CLIENTS, exports: CLIENTS })(MeshModule)

function asRoot({ providers = [], ...rest }: DynamicModule): DynamicModule {
  return { ...rest, module: MeshModule, providers: [...providers, MESH], exports: [MODULE_OPTIONS_TOKEN, Mesh] }
}

/** @throws Error if two modules of the application would join */
function assertOneRoot(modules: ModulesContainer): void {
  const roots = [...modules.values()].filter(
    ({ metatype, providers }) => metatype === MeshModule && providers.has(Mesh),
  )
  if (roots.length === 1) return
  const message = 'MeshModule.forRoot() is imported twice, and an application joins once'
  throw new Error(`${message}: keep the one of the root module, which is global`)
}

async function join(options: MeshModuleOptions): Promise<Mesh> {
  const { service, registry, joinTimeoutMs } = resolveMeshOptions(options)
  const logger = new Logger(MeshModule.name)
  const slow = setTimeout(() => {
    const bound = `for ${formatDuration(joinTimeoutMs)} at most`
    logger.warn(`Waiting for the registry at ${registry.join(', ')} to join the mesh as ${service}, ${bound}`)
  }, SLOW_JOIN_MS)
  try {
    // Nest's shutdown hooks handle signals, so that its providers are destroyed in order.
    const mesh = await joinMesh({ ...options, handleSignals: false })
    if (mesh.stale) {
      const known = 'with what it knew before'
      logger.warn(`Started as ${service} ${known}: no registry at ${registry.join(', ')} has answered yet`)
    } else logger.log(`Joined the mesh as ${service}`)
    return mesh
  } finally {
    clearTimeout(slow)
  }
}
