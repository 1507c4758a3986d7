/**
 * `inmesh/nest/microservices`: Nest's gRPC transport, clients and servers, through the mesh. Needs
 * `@nestjs/microservices`, `@grpc/grpc-js` and `@grpc/proto-loader`.
 */

export type { GrpcClientOptions } from '../../../client/grpc/client.ts'
export type { ServeGrpcOptions } from '../../../mesh/serve-options.ts'
export { MeshClientGrpc, type MeshClientGrpcOptions } from './client-grpc.ts'
export { MeshServerGrpc, type MeshServerGrpcOptions } from './server-grpc.ts'
