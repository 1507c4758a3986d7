/**
 * The policies as decorators of methods, for standard decorators and for `experimentalDecorators` alike. Each adds one option to
 * the method's guard, so the order in which they are written changes nothing: the stack's order holds.
 */
import type { Duration } from '../core/duration.ts'
import type { BulkheadOptions } from './bulkhead.ts'
import type { CircuitBreakerOptions } from './circuit-breaker.ts'
import { GUARDED, Guard, type Guarded, type GuardOptions, wrap } from './guard.ts'
import { type GuardSettings, resolveGuard } from './guard-settings.ts'
import type { HedgeOptions } from './hedge.ts'
import type { RateLimitOptions } from './rate-limit.ts'
import type { RetryOptions } from './retry.ts'

/** Any method that returns a promise. */
export type AsyncMethod = (...args: never[]) => Promise<unknown>

/** A decorator for methods that return promises, in both signatures. */
export interface MethodGuard {
  <This, Args extends readonly unknown[], Result>(
    method: (this: This, ...args: Args) => Promise<Result>,
    context: ClassMethodDecoratorContext<This, (this: This, ...args: Args) => Promise<Result>>,
  ): (this: This, ...args: Args) => Promise<Result>
  <T extends AsyncMethod>(target: object, key: string | symbol, descriptor: TypedPropertyDescriptor<T>): void
}

/** What `@guarded` takes: all that `guard` does, and who shares the policies. */
export interface GuardedOptions extends GuardOptions<never, unknown> {
  /** One breaker and one set of limits for each class and method, or for each object. @defaultValue `'class'` */
  readonly scope?: 'class' | 'instance'
}

/**
 * Several policies at once.
 * @example
 * ```ts
 * class Prices {
 *   \@guarded({ timeout: '200ms', retry: { attempts: 3 }, circuitBreaker: true })
 *   async quote(sku: string) { return this.#ask(sku) }
 * }
 * ```
 */
export function guarded(options: GuardedOptions = {}): MethodGuard {
  return decorator(options)
}

/** Repeats failed calls; to use it is to say that a second execution does no harm. @example `@retry({ attempts: 3 })` */
export function retry(options: RetryOptions = {}): MethodGuard {
  return decorator({ retry: options })
}

/** Refuses calls while too many fail. @example `@circuitBreaker({ errorThreshold: '30%' })` */
export function circuitBreaker(options: CircuitBreakerOptions | true = true): MethodGuard {
  return decorator({ circuitBreaker: options })
}

/** Bound of a whole call, retries included. @example `@timeout('200ms')` */
export function timeout(limit: Duration): MethodGuard {
  return decorator({ timeout: limit })
}

/** At most so many executions in progress; others may wait. @example `@bulkhead({ concurrency: 20, queue: 100 })` */
export function bulkhead(limit: number | 'adaptive' | BulkheadOptions): MethodGuard {
  return decorator({ bulkhead: limit })
}

/** A second execution when the first is late; to use it is to say that it does no harm. @example `@hedge({ after: '50ms' })` */
export function hedge(options: HedgeOptions | true = true): MethodGuard {
  return decorator({ hedge: options })
}

/** At most so many calls per second. @example `@rateLimit('500/s')` */
export function rateLimit(limit: RateLimitOptions['rate'] | RateLimitOptions): MethodGuard {
  return decorator({ rateLimit: typeof limit === 'object' ? limit : { rate: limit } })
}

/** The last word when everything else has failed; gets the error, then the arguments. @example `@fallback(() => 0)` */
export function fallback(answer: (error: unknown, ...args: never[]) => unknown): MethodGuard {
  return decorator({ fallback: answer as GuardOptions<never, unknown>['fallback'] & {} })
}

function decorator(added: GuardedOptions): MethodGuard {
  const { scope: _, ...checked } = added
  resolveGuard(checked, 'decorator')
  const decorate = (first: unknown, second: unknown, third?: PropertyDescriptor): unknown => {
    if (typeof second === 'object' && second !== null && 'kind' in second) {
      const { kind, name } = second as ClassMethodDecoratorContext
      if (kind !== 'method') throw new TypeError(`only methods can be guarded, ${String(name)} is a ${kind}`)
      return guardMethod(first as AsyncMethod, name, added)
    }
    const method: unknown = third?.value
    if (third === undefined || typeof method !== 'function') {
      throw new TypeError(`only methods can be guarded, ${String(second)} is none`)
    }
    third.value = guardMethod(method as AsyncMethod, second as string | symbol, added)
    return third
  }
  return decorate as MethodGuard
}

type Anything = (this: unknown, ...args: readonly unknown[]) => unknown

/** Adds to what an earlier decorator has begun. The policies are made at the first call, when the class is known. */
function guardMethod(method: AsyncMethod, key: string | symbol, added: GuardedOptions): Anything {
  const before = (method as { [GUARDED]?: Guarded })[GUARDED]
  const options: GuardedOptions = { ...before?.options, ...added }
  const { scope = 'class', ...checked } = options
  const settings = resolveGuard(checked, String(key))
  const work = (before?.work ?? method) as Anything
  const find = scope === 'class' ? shared(settings, key) : perInstance(settings, key)
  const guarded = wrap(work, options, settings, find)
  keepMetadata(method, guarded)
  return guarded
}

/** The part of reflect-metadata that is needed here; there only if the application has loaded it. */
interface ReflectMetadata {
  getOwnMetadataKeys(of: object): unknown[]
  getOwnMetadata(key: unknown, of: object): unknown
  defineMetadata(key: unknown, value: unknown, of: object): void
}

/** What other decorators have noted on the method, as NestJS does with its routes, is looked for on what replaces it. */
function keepMetadata(from: object, to: object): void {
  const reflect = Reflect as Partial<ReflectMetadata>
  for (const key of reflect.getOwnMetadataKeys?.(from) ?? []) {
    reflect.defineMetadata?.(key, reflect.getOwnMetadata?.(key, from), to)
  }
}

function shared(settings: GuardSettings, key: string | symbol): (self: unknown) => Guard {
  let made: Guard | undefined
  return (self) => {
    made ??= new Guard(settings, settings.name ?? nameOf(self, key))
    return made
  }
}

function perInstance(settings: GuardSettings, key: string | symbol): (self: unknown) => Guard {
  const all = new WeakMap<object, Guard>()
  return (self) => {
    const owner = self as object
    let made = all.get(owner)
    if (made === undefined) {
      made = new Guard(settings, settings.name ?? nameOf(self, key))
      all.set(owner, made)
    }
    return made
  }
}

/** `Prices.quote`, for static methods too. */
function nameOf(self: unknown, key: string | symbol): string {
  const owner = typeof self === 'function' ? self.name : (self as object | undefined)?.constructor?.name
  return owner === undefined || owner === '' ? String(key) : `${owner}.${String(key)}`
}
