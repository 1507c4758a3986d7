/**
 * A service mesh that you import. First what users of a mesh need, then what code needs that adapts to it.
 *
 * @module
 */
export { joinMesh, type Mesh } from './mesh.ts'
export type { MeshOptions, ServeOptions } from './options.ts'
export { type CurrentCall, currentCall } from './server/current-call.ts'
export { type AttemptReport, type ErrorCode, isMeshError, MeshError } from './core/errors.ts'
export { OptionsError, type Issue } from './core/fields.ts'
export type { Duration } from './core/duration.ts'
export type { HttpBody, HttpClient, HttpFilter, HttpRequest, HttpRequestOptions } from './client/http-client.ts'
export type { HttpResponse } from './client/http-response.ts'
export type { MeshFetch, MeshFetchInit, HttpFetchOptions } from './client/http-fetch.ts'
