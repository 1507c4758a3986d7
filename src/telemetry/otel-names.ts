/** What metrics are called in OpenTelemetry. */

/** The histograms of calls have the names of the semantic conventions. */
export const OTEL_CALL_DURATIONS = Object.freeze({
  client: { http: 'http.client.request.duration', grpc: 'rpc.client.call.duration' },
  server: { http: 'http.server.request.duration', grpc: 'rpc.server.call.duration' },
})

/**
 * The name of a metric in OpenTelemetry. Exporters to Prometheus add the suffixes again, so that it
 * is the same there.
 */
export function otelName(name: string): string {
  return name
    .replace(/_(?:total|seconds)$/, '')
    .replace(
      /^inmesh_(client_|server_|function_|identity_|registry_|metrics_)?/,
      (_, area = '') => `inmesh.${area.replace('_', '.')}`,
    )
}
