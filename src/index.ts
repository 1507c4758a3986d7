/**
 * A service mesh that you import. First what users of a mesh need, then what code needs that adapts to it.
 *
 * @module
 */

export type { HttpBody, HttpClient, HttpFilter, HttpRequest, HttpRequestOptions } from './client/http-client.ts'
export type { HttpFetchOptions, MeshFetch, MeshFetchInit } from './client/http-fetch.ts'
export type { HttpResponse } from './client/http-response.ts'
export type { Duration } from './core/duration.ts'
export { type AttemptReport, type ErrorCode, isMeshError, MeshError } from './core/errors.ts'
export { type Issue, OptionsError } from './core/fields.ts'
export { joinMesh } from './join-mesh.ts'
export type { Mesh } from './mesh.ts'
export type { MeshOptions, ServeOptions } from './options.ts'
export { type CurrentCall, currentCall } from './server/current-call.ts'
