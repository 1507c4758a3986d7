/**
 * The OpenTelemetry SDK that the application has: `@opentelemetry/sdk-trace` 3.x, or
 * `@opentelemetry/sdk-trace-node` 2.x. No range of a peer allows both (decision 0066).
 */
import type { TracerProvider } from '@opentelemetry/api'
import type { SpanExporter } from './span-exporter.ts'

/** A provider that is not registered yet. */
export interface LoadedProvider extends TracerProvider {
  shutdown(): Promise<void>
}

export interface Sdk {
  readonly api: typeof import('@opentelemetry/api')
  /** A provider with a batch span processor and a parent-based sampler. */
  createProvider(options: ProviderOptions): LoadedProvider
  /** Registers provider, context manager and W3C propagation globally. */
  register(provider: LoadedProvider): void
}

export interface ProviderOptions {
  readonly resource: object
  readonly sampleRatio: number
  /** `undefined`: the SDK's `ConsoleSpanExporter`. */
  readonly exporter: SpanExporter | undefined
}

type OldSdk = typeof import('@opentelemetry/sdk-trace-node')
type NewSdk = typeof import('@opentelemetry/sdk-trace')
type OldConfig = NonNullable<ConstructorParameters<OldSdk['NodeTracerProvider']>[0]>
type NewConfig = NonNullable<ConstructorParameters<NewSdk['TracerProvider']>[0]>
type OldExporter = ConstructorParameters<OldSdk['BatchSpanProcessor']>[0]
type NewExporter = ConstructorParameters<NewSdk['BatchSpanProcessor']>[0]['exporter']

/** @throws Error naming what to install */
export async function loadSdk(): Promise<Sdk> {
  try {
    const api = await import('@opentelemetry/api')
    return (await loadOld(api)) ?? (await loadNew(api))
  } catch (cause) {
    const message =
      'startTracing needs @opentelemetry/api and an SDK: npm install @opentelemetry/api @opentelemetry/sdk-trace @opentelemetry/context-async-hooks'
    throw new Error(message, { cause })
  }
}

/** The package of 2.x brings all that it needs in the same generation. */
async function loadOld(api: Sdk['api']): Promise<Sdk | undefined> {
  let sdk: OldSdk
  try {
    sdk = await import('@opentelemetry/sdk-trace-node')
  } catch {
    return undefined
  }
  return {
    api,
    createProvider: ({ resource, sampleRatio, exporter }) =>
      new sdk.NodeTracerProvider({
        resource: resource as NonNullable<OldConfig['resource']>,
        sampler: new sdk.ParentBasedSampler({ root: new sdk.TraceIdRatioBasedSampler(sampleRatio) }),
        spanProcessors: [
          new sdk.BatchSpanProcessor((exporter as OldExporter | undefined) ?? new sdk.ConsoleSpanExporter()),
        ],
      }),
    register: (provider) => (provider as InstanceType<OldSdk['NodeTracerProvider']>).register(),
  }
}

async function loadNew(api: Sdk['api']): Promise<Sdk> {
  const [sdk, { AsyncLocalStorageContextManager }, core] = await Promise.all([
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/context-async-hooks'),
    import('@opentelemetry/core'),
  ])
  return {
    api,
    createProvider: ({ resource, sampleRatio, exporter }) =>
      new sdk.TracerProvider({
        resource: resource as NonNullable<NewConfig['resource']>,
        sampler: new sdk.ParentBasedSampler({ root: new sdk.TraceIdRatioBasedSampler(sampleRatio) }),
        spanProcessors: [
          new sdk.BatchSpanProcessor({
            exporter: (exporter as NewExporter | undefined) ?? new sdk.ConsoleSpanExporter(),
          }),
        ],
      }),
    register(provider) {
      api.trace.setGlobalTracerProvider(provider)
      api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
      const propagators = [new core.W3CTraceContextPropagator(), new core.W3CBaggagePropagator()]
      api.propagation.setGlobalPropagator(new core.CompositePropagator({ propagators }))
    },
  }
}
