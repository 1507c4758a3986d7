/**
 * A service mesh that you import. First what users of a mesh need, then what code needs that adapts
 * to it.
 *
 * @module
 */

export type { GrpcClient, GrpcClientClass, GrpcClientOptions } from './client/grpc/client.ts'
export type { GrpcCallOptions, GrpcPromises } from './client/grpc/promises/promises.ts'
export type { BodyInput } from './client/http/body/request.ts'
export type {
  HttpBody,
  HttpClient,
  HttpClientOptions,
  HttpFilter,
  HttpRequest,
  HttpRequestOptions,
} from './client/http/client.ts'
export type { MeshDispatcher, MeshDispatcherOptions } from './client/http/dispatcher/dispatcher.ts'
export type { HttpFetchOptions, MeshFetch, MeshFetchInit } from './client/http/fetch/fetch.ts'
export type { Filter, Next } from './client/http/filter.ts'
export type { HeadersInput } from './client/http/headers.ts'
export type { QueryInput, QueryValue } from './client/http/prepare-request.ts'
export type { HttpHeaders, HttpResponse } from './client/http/response.ts'
export type { Call, HashKey, Route } from './core/call.ts'
export type { Clock, Timer } from './core/clock.ts'
export { detached } from './core/context.ts'
export { type AttemptReport, type ErrorCode, isMeshError, MeshError, type MeshErrorDetails } from './core/errors.ts'
export type { Protocol } from './core/protocol.ts'
export type { TraceContext } from './core/trace-context.ts'
export { joinMesh } from './mesh/join-mesh.ts'
export type { Mesh } from './mesh/mesh.ts'
export type { GrpcServing, MeshServer } from './mesh/mesh-server.ts'
export type { MeshOptions, ServeGrpcOptions, ServeOptions } from './mesh/options.ts'
export type { TokenIdentity, TokenOptions, VerifyTokenOptions } from './mesh/tokens.ts'
export type { Duration } from './options/duration.ts'
export { type Issue, OptionsError } from './options/fields.ts'
export type { OpossumCircuit } from './resilience/opossum-circuit.ts'
export { type CurrentCall, currentCall } from './server/current-call.ts'
export type { GrpcServerOptions } from './server/grpc/options.ts'
export type { HttpHandler, HttpListener } from './server/http/application.ts'
export type { HttpServerOptions, UpgradeListener } from './server/http/options.ts'
export type { CallerIdentity } from './server/inbound-call.ts'
export type { ServerMode } from './server/mode.ts'
export type { ServerStats } from './server/server-base.ts'
export type { EventCircuitState, EventName, EventRecord, MeshEvents } from './telemetry/events.ts'
