/**
 * `inmesh/nest`: the mesh as a module of NestJS, with injectable clients and Nest's own lifecycle.
 */

export type { GrpcClient, GrpcClientClass, GrpcClientOptions } from '../../client/grpc/client.ts'
export type { HttpClient } from '../../client/http/client.ts'
export type { HttpClientOptions } from '../../client/http/options.ts'
export type { MeshServer } from '../../mesh/mesh-server.ts'
export type { ServeOptions } from '../../mesh/serve-options.ts'
export type { ProblemOptions } from '../../server/http/problem.ts'
export { getMeshClientToken, getMeshGrpcClientToken, MeshClient, MeshGrpcClient } from './clients.ts'
export { CurrentCall } from './current-call.ts'
export { MeshExceptionFilter } from './exception-filter.ts'
export { Mesh } from './mesh-token.ts'
export { MeshModule, type MeshModuleAsyncOptions, type MeshModuleOptions } from './module.ts'
export { serveNest } from './serve.ts'
