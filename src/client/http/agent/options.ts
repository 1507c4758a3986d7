/** Options of `mesh.agent`, with their validation. */
import type { Agent as HttpAgent } from 'node:http'
import type { Agent as HttpsAgent } from 'node:https'
import { check, fields, instance, oneOf, optional } from '../../../options/fields.ts'
import { integer } from '../../../options/quantities.ts'
import type { HttpCallOptions } from '../request-options.ts'
import { SERVICE_HOSTS, type ServiceHosts } from '../service-hosts.ts'
import { CALL_KEYS, checkCallSettings, type WireCallSettings } from '../wire/options.ts'

/** Options of `mesh.agent`; those of `HttpCallOptions` hold for every request to a service. */
export interface MeshAgentOptions extends HttpCallOptions {
  /** Hosts that are services besides `*.mesh`. @defaultValue none */
  readonly services?: ServiceHosts | undefined
  /**
   * The agents of all other hosts. Not closed by us.
   * @defaultValue `http.globalAgent` and `https.globalAgent`, as they are when the agent is made
   */
  readonly fallback?:
    | {
        /** For `http:` URLs. @defaultValue `http.globalAgent` */
        readonly http?: HttpAgent | undefined
        /** For `https:` URLs. @defaultValue `https.globalAgent` */
        readonly https?: HttpsAgent | undefined
      }
    | undefined
  /**
   * Requests to one service that run at the same time; others wait. Answers are the callers', so
   * one that is not read keeps its place. @defaultValue no bound but the service's own limits
   */
  readonly maxSockets?: number | undefined
  /**
   * The only scheme that it takes, and that of requests which name none: for the place of
   * `http.globalAgent` or `https.globalAgent`. @defaultValue both schemes
   */
  readonly protocol?: 'http:' | 'https:' | undefined
}

export interface MeshAgentSettings {
  readonly services: ServiceHosts | undefined
  readonly fallback: NonNullable<MeshAgentOptions['fallback']>
  readonly maxSockets: number
  readonly protocol: 'http:' | 'https:' | undefined
  readonly call: WireCallSettings
}

const agent = optional(
  instance<HttpsAgent>(
    'an agent of node:http or node:https',
    (value) => typeof (value as { addRequest?: unknown } | null)?.addRequest === 'function',
  ),
)
const FIELDS = fields({
  services: SERVICE_HOSTS,
  fallback: optional(fields({ http: agent, https: agent })),
  maxSockets: optional(integer({ min: 1, max: 1_000_000 })),
  protocol: optional(oneOf(['http:', 'https:'])),
})
const KEYS = [...Object.keys(FIELDS.shape), ...CALL_KEYS]

/** @throws OptionsError naming the option that is wrong */
export function resolveAgent(options: MeshAgentOptions = {}): MeshAgentSettings {
  checkCallSettings(options, KEYS, 'mesh.agent')
  const { services, fallback, maxSockets, protocol, ...call } = options
  const checked = check(FIELDS, { services, fallback, maxSockets, protocol }, 'mesh.agent')
  return {
    services: checked.services,
    fallback: checked.fallback ?? {},
    maxSockets: checked.maxSockets ?? Number.POSITIVE_INFINITY,
    protocol: checked.protocol,
    call: { ...call, signal: undefined },
  }
}
