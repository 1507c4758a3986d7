/**
 * Ends a call whose async interceptor rejects. grpc-js drops the promises that interceptors return,
 * so a rejection would end the process; if a version hides the interceptor, nothing is changed.
 */
import type * as grpc from '@grpc/grpc-js'
import type { InterceptorParts } from '../internals.ts'

/** Owns the call that ends. */
interface Owner {
  fail(error: unknown): void
}

type Code = (this: unknown, ...args: unknown[]) => unknown

export function watchRequester(call: unknown, owner: Owner): void {
  const kept = call as InterceptorParts
  kept.requester &&= watched(kept.requester, ['start', 'sendMessage', 'halfClose', 'cancel'], owner)
}

export function watchListener(listener: Partial<grpc.InterceptingListener> | undefined, owner: Owner): void {
  const kept = listener as InterceptorParts | undefined
  if (kept?.listener === undefined) return
  kept.listener = watched(kept.listener, ['onReceiveMetadata', 'onReceiveMessage', 'onReceiveStatus'], owner)
}

/** A copy, because one object may serve many calls. */
function watched(code: Record<string, unknown>, names: readonly string[], owner: Owner): Record<string, unknown> {
  const copy = { ...code }
  for (const name of names) {
    const run = code[name]
    if (typeof run !== 'function') continue
    copy[name] = (...args: unknown[]): unknown => {
      const returned = (run as Code).apply(code, args)
      if (returned instanceof Promise) returned.catch((error: unknown) => owner.fail(error))
      return returned
    }
  }
  return copy
}
