/** Nest applications that join the mesh of a test. */
import 'reflect-metadata'
import { type INestApplication, Module, type ModuleMetadata, type NestApplicationOptions } from '@nestjs/common'
import { type AbstractHttpAdapter, NestFactory } from '@nestjs/core'
import { afterEach } from 'vitest'
import { MeshModule } from '../../../src/frameworks/nest/index.ts'
import type { MeshOptions } from '../../../src/index.ts'
import type { TestMesh } from '../../../src/testing/index.ts'

const open = new Set<INestApplication>()

afterEach(async () => {
  for (const app of open) await closeApp(app)
})

/** Nest would run the hooks of a closed application again. */
export async function closeApp(app: INestApplication): Promise<void> {
  if (open.delete(app)) await app.close()
}

/** The options with which `service` joins `testMesh`; drains are short. */
export function joining(testMesh: TestMesh, service: string, options: MeshOptions = {}): MeshOptions {
  const quick = { drainNotice: 500, drainTimeout: 2_000, joinTimeout: 15_000 }
  return { service, registry: testMesh.registry.url, stateDir: 'memory', handleSignals: false, ...quick, ...options }
}

/** An application of `metadata` that is a member of `testMesh`; closed after the test. */
export function createApp(
  testMesh: TestMesh,
  service: string,
  metadata: ModuleMetadata,
  adapter?: AbstractHttpAdapter,
  options?: NestApplicationOptions,
): Promise<INestApplication> {
  const root = MeshModule.forRoot(joining(testMesh, service))
  return createFrom({ ...metadata, imports: [root, ...(metadata.imports ?? [])] }, adapter, options)
}

/** An application whose root module is `metadata` as it is. */
export async function createFrom(
  metadata: ModuleMetadata,
  adapter?: AbstractHttpAdapter,
  given?: NestApplicationOptions,
): Promise<INestApplication> {
  class AppModule {}
  Module(metadata)(AppModule)
  const options: NestApplicationOptions = { logger: ['error', 'fatal'], abortOnError: false, ...given }
  const app = await (adapter === undefined
    ? NestFactory.create(AppModule, options)
    : NestFactory.create(AppModule, adapter, options))
  open.add(app)
  return app
}
