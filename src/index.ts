/**
 * The public API of inmesh. Exports for users come first, then those for code that adapts to the
 * mesh.
 */

// For users: join, call, serve, errors and options.

export type { GrpcClient, GrpcClientOptions } from './client/grpc/client.ts'
export type { GrpcServiceDefinition } from './client/grpc/definitions.ts'
export type { GrpcChannelOptions } from './client/grpc/override.ts'
export type { GrpcCallOptions, GrpcPromises } from './client/grpc/promises/promises.ts'
export type { MeshAgentOptions } from './client/http/agent/options.ts'
export type { MeshRequest } from './client/http/agent/request.ts'
export type { BodyInput } from './client/http/body/body-input.ts'
export type { HttpClient } from './client/http/client.ts'
export type { MeshDispatcher, MeshDispatcherOptions } from './client/http/dispatcher/dispatcher.ts'
export type { HttpFetchOptions, MeshFetch } from './client/http/fetch/fetch.ts'
export type { MeshFetchInit } from './client/http/fetch/init.ts'
export type { HeadersInput } from './client/http/headers.ts'
export type { HttpClientOptions } from './client/http/options.ts'
export type { QueryInput, QueryValue } from './client/http/prepare-request.ts'
export type { HttpBody, HttpRequest, HttpRequestOptions } from './client/http/request-options.ts'
export type { HttpHeaders, HttpResponse } from './client/http/response.ts'
export type { ServiceHosts } from './client/http/service-hosts.ts'
export type { Connector } from './client/http/wire/create-connection.ts'
export type { ConnectorOptions } from './client/http/wire/options.ts'
export type { ConnectOptions } from './client/tcp/options.ts'
export type { WebSocketOptions } from './client/websocket/options.ts'
export { detached } from './core/context.ts'
export {
  type AttemptReport,
  type ErrorCode,
  isMeshError,
  MeshError,
  type MeshErrorDetails,
  meshErrorOf,
} from './core/errors.ts'
export type { MeshState } from './core/mesh-state.ts'
export type { TransportName, TransportPreference } from './core/transport.ts'
export type { ExplainOptions } from './discovery/explain-request.ts'
export type {
  ExplainedAnswer,
  ExplainedEndpoint,
  ExplainedHeaders,
  ExplainedIntention,
  ExplainedLevel,
  ExplainedMirror,
  ExplainedOverride,
  ExplainedRewrite,
  ExplainedRule,
  ExplainedSticky,
  ExplainedTarget,
  ExplainedWarning,
  Explanation,
} from './discovery/explanation.ts'
export { joinMesh } from './mesh/join-mesh.ts'
export { joinOnce } from './mesh/join-once.ts'
export type { Mesh } from './mesh/mesh.ts'
export type { MeshServer } from './mesh/mesh-server.ts'
export type { MeshOptions } from './mesh/options.ts'
export type { ListenOptions, ServeGrpcOptions, ServeOptions } from './mesh/serve-options.ts'
export type { TokenIdentity, TokenOptions, VerifyTokenOptions } from './mesh/tokens.ts'
export type { Duration } from './options/duration.ts'
export { type Issue, OptionsError } from './options/fields.ts'
export type { FailedCondition, TriedRoute } from './routing/explain-route.ts'
export type { PolicyOrigin, PolicyValue } from './routing/policy-values.ts'
export { type CurrentCall, type CurrentCallJson, currentCall } from './server/current-call.ts'
export type { GrpcServerOptions } from './server/grpc/options.ts'
export type { HttpServerOptions } from './server/http/options.ts'
export { type Problem, type ProblemDocument, type ProblemOptions, problemOf } from './server/http/problem.ts'
export type { CallerIdentity } from './server/inbound-call.ts'
export type { ServerMode } from './server/mode.ts'
export type { OrcaAudience } from './server/orca-audience.ts'
export type { ServerStats } from './server/server-base.ts'
export type { TcpHandler } from './server/tcp/call.ts'
export type { TcpServerOptions } from './server/tcp/options.ts'
export type { MetricsOptions } from './telemetry/metrics-options.ts'
export type { PromClientRegistry } from './telemetry/prom-client-registry.ts'

// For adapters: filters, interceptors, frameworks, circuits, events, clocks.

export type { GrpcClientClass } from './client/grpc/client.ts'
export type { GrpcInterceptor } from './client/grpc/interceptors/interceptor.ts'
export type { Filter, Next } from './client/http/filter.ts'
export type { HttpFilter } from './client/http/options.ts'
export type { Call, CallKind, HashKey, RoutedCall } from './core/call.ts'
export type { Clock, Timer } from './core/clock.ts'
export type { Protocol } from './core/protocol.ts'
export type { OverrideTarget, RouteOverrides } from './core/route-overrides.ts'
export type { TraceContext } from './core/trace-context.ts'
export type { GrpcServing, NiceGrpcServing } from './mesh/mesh-server.ts'
export type { OpossumCircuit } from './resilience/opossum-circuit.ts'
export type { HttpHandler, HttpListener } from './server/http/application.ts'
export type { UpgradeListener } from './server/http/options.ts'
export type { AccessLogFields, AccessLogger, AccessLogTarget } from './telemetry/access-log/line-writer.ts'
export type { AccessLogOptions, AccessLogPolicyOptions, LoggedSide } from './telemetry/access-log/settings.ts'
export type { AdminOptions } from './telemetry/admin-access.ts'
export type { EventCircuitState, EventMessage, EventName, EventRecord, MeshEvents } from './telemetry/events.ts'
