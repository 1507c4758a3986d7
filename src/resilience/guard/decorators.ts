/**
 * The policies as decorators of methods, standard or `experimentalDecorators`. Each adds one option
 * to the guard of the method; the stack fixes the order, not the source.
 */
import type { Duration } from '../../options/duration.ts'
import { OptionsError, show } from '../../options/fields.ts'
import type { CircuitBreakerOptions } from '../circuit-breaker.ts'
import type { HedgeOptions } from '../hedge.ts'
import type { RateLimitOptions } from '../limits/rate-limit.ts'
import type { RetryOptions } from '../retry.ts'
import type { BulkheadOptions } from './bulkhead.ts'
import { GUARDED, Guard, type Guarded, type GuardOptions, wrap } from './guard.ts'
import { classOf, isGenerator, isObject, NO_CLASS, nameOf } from './guarded-class.ts'
import { type GuardSettings, resolveGuard } from './settings.ts'

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
  /**
   * One breaker and one set of limits for each class and method, or for each object. @defaultValue
   * `'class'`
   */
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

/**
 * Repeats failed calls; to use it is to say that a second execution does no harm. @example
 * `@retry({ attempts: 3 })`
 */
export function retry(options: RetryOptions = {}): MethodGuard {
  return decorator({ retry: options })
}

/** Refuses calls while too many fail. @example `@circuitBreaker({ errorThreshold: '30%' })` */
export function circuitBreaker(options: CircuitBreakerOptions | true = true): MethodGuard {
  return decorator({ circuitBreaker: options })
}

/** Bound of a whole call, retries included. @example `@timeout('200ms')` */
export function timeout(limit: Duration): MethodGuard {
  return decorator({ timeout: needed('timeout', "a duration such as '200ms'", limit) })
}

/**
 * Limits the executions in progress; others may wait. @example
 * `@bulkhead({ concurrency: 20, queue: 100 })`
 */
export function bulkhead(limit: number | 'adaptive' | BulkheadOptions): MethodGuard {
  return decorator({ bulkhead: needed('bulkhead', "a number of executions, 'adaptive' or an object", limit) })
}

/**
 * A second execution when the first is late; to use it is to say that it does no harm. @example
 * `@hedge({ after: '50ms' })`
 */
export function hedge(options: HedgeOptions | true = true): MethodGuard {
  return decorator({ hedge: options })
}

/** Limits the calls per second. @example `@rateLimit('500/s')` */
export function rateLimit(limit: RateLimitOptions['rate'] | RateLimitOptions): MethodGuard {
  return decorator({ rateLimit: typeof limit === 'object' ? limit : { rate: limit } })
}

/**
 * The last word when everything else has failed; gets the error, then the arguments. @example
 * `@fallback(() => 0)`
 */
export function fallback(answer: (error: unknown, ...args: never[]) => unknown): MethodGuard {
  const given = needed('fallback', 'a function', answer)
  return decorator({ fallback: given as GuardOptions<never, unknown>['fallback'] & {} })
}

/** A decorator that adds nothing would be there for nothing. */
function needed<T>(option: string, expected: string, value: T): T {
  if (value !== undefined) return value
  throw new OptionsError('decorator', [{ path: [option], message: `is missing; expected ${expected}` }])
}

function decorator(added: GuardedOptions): MethodGuard {
  if (typeof added !== 'object' || added === null) {
    throw new OptionsError('decorator', [{ path: [], message: `expected an object of options, got ${show(added)}` }])
  }
  const { scope, ...checked } = added
  if (scope !== undefined && scope !== 'class' && scope !== 'instance') {
    const message = `expected 'class' or 'instance', got ${show(scope)}`
    throw new OptionsError('decorator', [{ path: ['scope'], message }])
  }
  resolveGuard(checked, 'decorator')
  const decorate = (first: unknown, second: unknown, third?: PropertyDescriptor): unknown => {
    if (typeof second === 'object' && second !== null && 'kind' in second) {
      const context = second as ClassMethodDecoratorContext
      const { kind, name } = context
      if (kind !== 'method') throw new TypeError(`only methods can be guarded, ${String(name)} is a ${kind}`)
      return guardMethod(first as AsyncMethod, name, added, context)
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

type NameOf = (self: unknown) => string

type Anything = (this: unknown, ...args: readonly unknown[]) => unknown

/**
 * Adds to what an earlier decorator has begun. The policies are made when the class is known: with
 * the first object, so that exporters find its circuit; where the decorator does not hear of
 * objects, at the first call.
 */
function guardMethod(
  method: AsyncMethod,
  key: string | symbol,
  added: GuardedOptions,
  context?: ClassMethodDecoratorContext,
): Anything {
  if (isGenerator(method))
    throw new TypeError(`only methods that return promises can be guarded, ${String(key)} is a generator`)
  const before = (method as { [GUARDED]?: Guarded })[GUARDED]
  const options: GuardedOptions = { ...before?.options, ...added }
  const { scope = 'class', ...checked } = options
  const settings = resolveGuard(checked, String(key))
  const work = (before?.work ?? method) as Anything
  const name: NameOf = (self) => nameOf(self, key, guarded)
  const find = scope === 'class' ? perClass(settings, name) : perInstance(settings, name)
  const guarded = wrap(work, options, settings, find)
  keepMetadata(method, guarded)
  if (scope === 'class' && context?.private === false) {
    context.addInitializer(function () {
      // Not for one that a further decorator replaces or a subclass overrides.
      if ((this as Record<string | symbol, unknown>)[key] === guarded) find(this)
    })
  }
  return guarded
}

/**
 * The part of reflect-metadata that is needed here; there only if the application has loaded it.
 */
interface ReflectMetadata {
  getOwnMetadataKeys(of: object): unknown[]
  getOwnMetadata(key: unknown, of: object): unknown
  defineMetadata(key: unknown, value: unknown, of: object): void
}

/**
 * What other decorators have noted on the method, as NestJS does with its routes, is looked for on
 * what replaces it.
 */
function keepMetadata(from: object, to: object): void {
  const reflect = Reflect as Partial<ReflectMetadata>
  for (const key of reflect.getOwnMetadataKeys?.(from) ?? []) {
    reflect.defineMetadata?.(key, reflect.getOwnMetadata?.(key, from), to)
  }
}

/**
 * Each class has its own, also for the methods that it inherits: what one subclass talks to says
 * nothing of the others.
 */
function perClass(settings: GuardSettings, name: NameOf): (self: unknown) => Guard {
  return kept(settings, name, (self) => classOf(self) ?? NO_CLASS)
}

function perInstance(settings: GuardSettings, name: NameOf): (self: unknown) => Guard {
  return kept(settings, name, (self) => (isObject(self) ? self : NO_CLASS))
}

function kept(settings: GuardSettings, name: NameOf, ownerOf: (self: unknown) => object): (self: unknown) => Guard {
  const all = new WeakMap<object, Guard>()
  return (self) => {
    const owner = ownerOf(self)
    let made = all.get(owner)
    if (made === undefined) {
      made = new Guard(settings, settings.name ?? name(self))
      all.set(owner, made)
    }
    return made
  }
}
