/**
 * Where the HTTP doors get what is compiled for a service: asked once per call, so that a new
 * snapshot is one assignment.
 */
import type { Route } from '../core/call.ts'
import type { Stack } from '../resilience/stack.ts'
import type { HttpTransport } from './http/transport.ts'

export interface StackSource {
  readonly service: string
  readonly transport: HttpTransport
  /** The stack in force for such a request. */
  stack(method: string, path: string): Stack
  /** Made once for each method; `streaming`: the response may last as long as it likes. */
  route(method: string, streaming: boolean): Route
}

/** The service of that name; `undefined` if the mesh is not responsible for it. */
export type FindService = (name: string) => StackSource | undefined
