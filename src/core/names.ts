/** What a service and an instance may be called; the same rule for options, registry, CLI and certificates. */
import { type Field, text } from './fields.ts'

/** A DNS label, so that `http://<service>/` is a valid URL and a SPIFFE path segment. */
export const SERVICE_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
export const INSTANCE_ID = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$/

export function serviceName(): Field<string> {
  return text(
    "a service name: 1 to 63 lower-case letters, digits and '-', neither first nor last a '-'",
    SERVICE_NAME,
    63,
  )
}
