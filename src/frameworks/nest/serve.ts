/** Serves a Nest application in the mesh, in place of `app.listen()`. */
import type { INestApplication, InjectionToken } from '@nestjs/common'
import { HttpAdapterHost, ModulesContainer } from '@nestjs/core'
import type { MeshServer } from '../../mesh/mesh-server.ts'
import type { ServeOptions } from '../../mesh/serve-options.ts'
import { OptionsError, show } from '../../options/fields.ts'
import type { HttpHandler } from '../../server/http/application.ts'
import { isServed } from '../../server/http/served-server.ts'
import { joined, Mesh } from './mesh-token.ts'
import { type MeshModuleOptions, MODULE_OPTIONS_TOKEN } from './module.ts'

/** The signals that end a mesh; others stay Nest's. */
const SIGNALS = ['SIGTERM', 'SIGINT']

/**
 * Initializes the application and serves it in the mesh, as `mesh.serve` does: Express and Fastify
 * adapters, with WebSocket gateways, versioning and global prefix. Call it in place of
 * `app.listen()`. SIGTERM and Ctrl-C then close the application (`app.enableShutdownHooks()`): its
 * servers drain, its providers are destroyed, the mesh is closed, and the process exits with 0.
 *
 * @param options - of `mesh.serve`, such as `port`
 * @throws OptionsError if `app` is no HTTP application, listens or is served already, or has
 * options without effect, Error if no module has joined (`MeshModule.forRoot`), and what
 * `mesh.serve` throws
 * @example
 * ```ts
 * const app = await NestFactory.create(AppModule)
 * const { port } = await serveNest(app, { port: 8080 })
 * ```
 */
export async function serveNest(app: INestApplication, options?: ServeOptions): Promise<MeshServer> {
  if (typeof (app as Partial<INestApplication> | null)?.getHttpAdapter !== 'function') {
    throw wrong(`expected the application that NestFactory.create() makes, got ${show(app)}`)
  }
  const mesh = joined(find<Mesh>(app, Mesh))
  const { handleSignals = true } = find<MeshModuleOptions>(app, MODULE_OPTIONS_TOKEN) ?? {}
  assertOptions(app)
  if (handleSignals) app.enableShutdownHooks(SIGNALS, { useProcessExit: true })
  await app.init()
  const adapter = app.getHttpAdapter()
  const handler = adapter.getType() === 'fastify' ? adapter.getInstance() : app.getHttpServer()
  const server = await mesh.serve(handler as HttpHandler, options)
  // Nest's own subscribers wait for it (`listen$`).
  app.get(HttpAdapterHost, { strict: false }).listening = true
  return server
}

/** Options of `NestFactory.create` that do harm or have no effect, each with the reason. */
const REFUSED_OPTIONS = {
  httpsOptions: 'the mesh does TLS',
  forceCloseConnections: 'the mesh closes its connections itself',
  return503OnClosing: 'callers in the mesh go elsewhere first, and until then this instance serves them',
}

/** @throws OptionsError in Nest's words; `mesh.serve` would speak of a `node:http` server */
function assertOptions(app: INestApplication): void {
  if (isServed(app.getHttpServer())) throw wrong('is served already')
  if (app.getHttpServer().listening === true) {
    throw wrong('listens already: leave out app.listen(), serveNest takes its place')
  }
  const { appOptions = {} } = app as { appOptions?: Readonly<Record<string, unknown>> }
  for (const [option, reason] of Object.entries(REFUSED_OPTIONS)) {
    if (appOptions[option]) throw wrong(`has the option ${option}: leave it out, because ${reason}`)
  }
}

/** `undefined`: no module provides it, for which `app.get` would end the process. */
function find<T>(app: INestApplication, token: InjectionToken): T | undefined {
  const modules = [...app.get(ModulesContainer, { strict: false }).values()]
  return modules.some(({ providers }) => providers.has(token)) ? app.get<T>(token, { strict: false }) : undefined
}

function wrong(message: string): OptionsError {
  return new OptionsError('serveNest', [{ path: ['app'], message }])
}
