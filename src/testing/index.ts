/**
 * `inmesh/testing`: a whole mesh in one process, fault injection and a fake clock for tests of
 * applications.
 */

export type { Clock, Timer } from '../core/clock.ts'
export { type AttemptReport, type ErrorCode, isMeshError, MeshError } from '../core/errors.ts'
export type { Mesh } from '../mesh/mesh.ts'
export type { MeshServer } from '../mesh/mesh-server.ts'
export type { MeshOptions } from '../mesh/options.ts'
export type { ListenOptions, ServeOptions } from '../mesh/serve-options.ts'
export type { Duration } from '../options/duration.ts'
export { type Issue, OptionsError } from '../options/fields.ts'
export { type ApiCode, ApiError } from '../registry/api/error.ts'
export type { PolicyChange, StoredPolicy } from '../registry/policy-change.ts'
export type { Registry } from '../registry/running-registry.ts'
export { StorageError } from '../registry/storage/errors.ts'
export type { HttpHandler, HttpListener } from '../server/http/application.ts'
export type { TcpHandler } from '../server/tcp/call.ts'
export { FakeClock, seededRandom } from './fake-clock.ts'
export { type FaultOptions, Faults } from './faults.ts'
export {
  startTestMesh,
  type TestApplication,
  type TestInstance,
  type TestListener,
  type TestListenOptions,
  type TestMemberOptions,
  type TestMesh,
  type TestMeshOptions,
  type TestServeOptions,
} from './test-mesh.ts'
