/**
 * `inmesh/tracing`: registers an OpenTelemetry SDK for applications that have none. Nothing else in
 * inmesh imports an SDK.
 */
import type { Attributes, AttributeValue } from '@opentelemetry/api'
import { check, fields, instance, optional, text, withDefault } from '../options/fields.ts'
import { share } from '../options/quantities.ts'
import { loadSdk } from './load-sdk.ts'
import { SERVICE_NAME } from './semantic-conventions.ts'
import type { SpanExporter } from './span-exporter.ts'

export type { SpanExporter } from './span-exporter.ts'

/** Options of {@link startTracing}. */
export interface TracingOptions {
  /** `service.name` of all spans. */
  readonly serviceName: string
  /**
   * The span exporter, such as an OTLP exporter. @defaultValue the SDK's `ConsoleSpanExporter`, for
   * development
   */
  readonly exporter?: SpanExporter
  /** Share of the traces started here that is recorded, as 0.1 or `'10%'`. @defaultValue 1 */
  readonly sampleRatio?: number | `${number}%`
}

/** A running SDK. */
export interface RunningTracing {
  /**
   * Flushes the remaining spans, for 10 s at most, and unregisters the SDK. Idempotent. Rejects if
   * the exporter fails.
   */
  shutdown(): Promise<void>
}

/** For what waits at the end. */
const LAST_MS = 10_000

const FIELDS = fields({
  serviceName: text('a name of 1 to 255 printable characters', /^[\x20-\x7e]{1,255}$/, 255),
  exporter: optional(
    instance<SpanExporter>(
      'a span exporter, with export() and shutdown()',
      (value) =>
        typeof value === 'object' &&
        value !== null &&
        typeof (value as SpanExporter).export === 'function' &&
        typeof (value as SpanExporter).shutdown === 'function',
    ),
  ),
  sampleRatio: withDefault(share(), 1),
})

/**
 * Registers the OpenTelemetry SDK with a batch span processor, W3C propagation and a parent-based
 * sampler: `@opentelemetry/sdk-trace` 3.x with `@opentelemetry/context-async-hooks`, or
 * `@opentelemetry/sdk-trace-node` 2.x. Call it before `joinMesh`.
 *
 * @throws OptionsError if an option is wrong.
 * @throws Error if `@opentelemetry/api` or the SDK is not installed, or an SDK is registered
 * already.
 *
 * @example
 * ```ts
 * const tracing = await startTracing({ serviceName: 'checkout', sampleRatio: 0.1 })
 * const mesh = await joinMesh({ service: 'checkout' })
 * // at the end
 * await mesh.close()
 * await tracing.shutdown()
 * ```
 */
export async function startTracing(options: TracingOptions): Promise<RunningTracing> {
  const { serviceName, exporter, sampleRatio } = check(FIELDS, options, 'startTracing')
  const { api, createProvider, register } = await loadSdk()
  const resource = new ServiceResource({ [SERVICE_NAME]: serviceName })
  const provider = createProvider({ resource, sampleRatio, exporter })
  const known = api.trace.getTracerProvider()
  const proxy = known instanceof api.ProxyTracerProvider ? known : undefined
  if (proxy === undefined || proxy.getDelegate() !== new api.ProxyTracerProvider().getDelegate()) {
    await provider.shutdown()
    throw new Error('startTracing: an OpenTelemetry SDK is registered already; inmesh uses it as it is')
  }
  register(provider)
  let ended: Promise<void> | undefined
  return {
    shutdown() {
      ended ??= within(LAST_MS, provider.shutdown()).finally(() => {
        api.trace.disable()
        api.context.disable()
        api.propagation.disable()
      })
      return ended
    },
  }
}

/** Settles with `ending`, or resolves after `ms`: an exporter may never answer. */
async function within(ms: number, ending: Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  try {
    await Promise.race([ending, promise])
  } finally {
    clearTimeout(timer)
  }
}

/** A minimal resource of either generation of the SDK. */
class ServiceResource {
  readonly attributes: Attributes

  constructor(attributes: Attributes) {
    this.attributes = attributes
  }

  merge(other: { readonly attributes: Attributes } | null): ServiceResource {
    return new ServiceResource({ ...this.attributes, ...other?.attributes })
  }

  getRawAttributes(): [string, AttributeValue | undefined][] {
    return Object.entries(this.attributes)
  }
}
