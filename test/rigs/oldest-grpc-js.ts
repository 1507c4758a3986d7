/**
 * Set-up of test runs against the oldest supported grpc-js: redirects every import and require of
 * `@grpc/grpc-js` to it.
 */
import { registerHooks } from 'node:module'

/** Test files that share a process set it up once. */
const shared = globalThis as { oldestGrpcJs?: true }

if (shared.oldestGrpcJs === undefined) {
  shared.oldestGrpcJs = true
  registerHooks({
    resolve(specifier, context, next) {
      const found = next(specifier, context)
      return { ...found, url: found.url.replace('/node_modules/@grpc/grpc-js/', '/node_modules/grpc-js-oldest/') }
    },
  })
}
