/**
 * Puts a guard around each interceptor of grpc-js that a user gives, so that what it throws ends
 * its call. A client and a call without interceptors have nothing of this.
 */
import type * as grpc from '@grpc/grpc-js'
import { GrpcCallSettings } from '../promises/call-settings.ts'
import { type InterceptedCall, InterceptorGuard, type InterceptorHost } from './guard.ts'

type Provider = grpc.InterceptorProvider

/** `given` as grpc-js takes it: also a single function, and values that it leaves out. */
export function guardInterceptors(host: InterceptorHost, given: unknown): grpc.Interceptor[] {
  return listOf<grpc.Interceptor>(given).map((each) => guarded(host, each))
}

/**
 * The options of one call with its interceptors guarded, and with settings that tell what became of
 * it.
 */
export function guardCallOptions(host: InterceptorHost, options: grpc.CallOptions): grpc.CallOptions {
  const { interceptors, interceptor_providers: providers, propagate_flags: flags } = options
  return {
    ...options,
    ...(interceptors && { interceptors: guardInterceptors(host, interceptors) }),
    ...(providers && { interceptor_providers: listOf<Provider>(providers).map((each) => guardedProvider(host, each)) }),
    ...((flags === undefined || flags === null) && { propagate_flags: new GrpcCallSettings() as unknown as number }),
  }
}

function guardedProvider(host: InterceptorHost, provider: Provider): Provider {
  return (definition) => guarded(host, provider(definition))
}

/** What is no function is left to grpc-js, which leaves out or refuses it. */
function guarded(host: InterceptorHost, interceptor: grpc.Interceptor): grpc.Interceptor {
  if (typeof interceptor !== 'function') return interceptor
  return (options, nextCall) => {
    const guard = new InterceptorGuard(host, options)
    guard.intercept(interceptor, options, nextCall)
    return guard as InterceptedCall as grpc.InterceptingCall
  }
}

function listOf<T>(given: unknown): T[] {
  return ([] as T[]).concat(given as T | T[])
}
