/** Apart from the SDK, so that declarations do not need its packages. */

/** What of an exporter the SDK calls; those of either generation have this shape. */
export interface SpanExporter {
  /** Takes ended spans, and says through `resultCallback` whether they were exported. */
  export(spans: never[], resultCallback: (result: { code: number; error?: Error }) => void): void
  /** Exports what is left, and ends. */
  shutdown(): Promise<void>
  /** Exports what is left. */
  forceFlush?(): Promise<void>
}
