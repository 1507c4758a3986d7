/**
 * The valid names of services, instances and gRPC methods, shared by options, registry, CLI and
 * certificates.
 */
import { type Field, text } from './fields.ts'

/** A DNS label: valid as the host of a URL and as a SPIFFE path segment. */
export const SERVICE_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
export const INSTANCE_ID = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$/

export function serviceName(): Field<string> {
  return text(
    "a service name: 1 to 63 lower-case letters, digits and '-', neither first nor last a '-'",
    SERVICE_NAME,
    63,
  )
}

/**
 * A gRPC method, `shop.Inventory/Get`, or all of a gRPC service, `shop.Inventory/*`. Errors and
 * metrics write it with a leading `/`.
 */
export function grpcMethod(): Field<string> {
  const given = text("a gRPC method such as 'shop.Inventory/Get', or 'shop.Inventory/*' for all", GRPC_METHOD, 512)
  return {
    ...given,
    parse(value, path, issues) {
      const method = given.parse(value, path, issues) as string | undefined
      return method?.startsWith('/') ? method.slice(1) : method!
    },
  }
}

const GRPC_METHOD = /^\/?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*\/(?:\*|[A-Za-z_]\w*)$/

/** Whether `path`, `/shop.Inventory/Get`, is one of `methods` as {@link grpcMethod} takes them. */
export function isGrpcMethod(methods: readonly string[], path: string): boolean {
  return methods.some((method) =>
    method.endsWith('/*')
      ? path.startsWith(method.slice(0, -1), 1)
      : path.length === method.length + 1 && path.endsWith(method),
  )
}
