/**
 * Envoy as the sidecar, where installed: one worker each, no access log, and the policies of
 * `haproxy.ts`. The configuration was written from Envoy's v3 API and never run; each start
 * validates it first.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type SidecarProxy, versionOf } from './sidecar.ts'

const TYPES = 'type.googleapis.com/envoy.extensions'
const ATTEMPTS = {
  num_retries: 2,
  host_selection_retry_max_attempts: 5,
  retry_host_predicate: [
    {
      name: 'envoy.retry_host_predicates.previous_hosts',
      typed_config: { '@type': `${TYPES}.retry.host.previous_hosts.v3.PreviousHostsPredicate` },
    },
  ],
}

/** `undefined` where it is not on the PATH. */
export function findEnvoy(): SidecarProxy | undefined {
  const version = versionOf('envoy', '--version')
  if (version === undefined) return undefined
  return {
    program: 'envoy',
    version: version.replace(/^envoy\s+version:/, 'Envoy'),
    outbound(directory, { port, inboundPorts, certificates }) {
      const route = (retry_on: string, more: object = {}): object => ({
        cluster: 'inventory',
        timeout: '5s',
        retry_policy: { retry_on, ...ATTEMPTS, ...more },
      })
      const routes = [
        {
          match: { prefix: '/', headers: [{ name: ':method', string_match: { exact: 'GET' } }] },
          route: route('connect-failure,refused-stream,reset,retriable-status-codes', {
            retriable_status_codes: [502, 503, 504],
          }),
        },
        { match: { prefix: '/' }, route: route('connect-failure,refused-stream') },
      ]
      const cluster = {
        ...clusterOf('inventory', inboundPorts),
        health_checks: [
          {
            timeout: '1s',
            interval: '2s',
            unhealthy_interval: '0.5s',
            unhealthy_threshold: 2,
            healthy_threshold: 1,
            http_health_check: { path: '/health' },
          },
        ],
        outlier_detection: { consecutive_5xx: 5, interval: '1s', base_ejection_time: '1s', max_ejection_percent: 50 },
        transport_socket: tls('UpstreamTlsContext', { sni: 'inventory' }, 'inventory', {
          ca: certificates.caFile,
          own: certificates.clientFile,
        }),
      }
      return write(directory, 'proxy-out.json', listenerOf(port, routes), cluster)
    },
    inbound(directory, { i, port, appPort, certificates }) {
      const route = { cluster: 'app', timeout: '5s' }
      const routes = [
        { match: { prefix: '/items/' }, route },
        { match: { path: '/health' }, route },
      ]
      const context = tls('DownstreamTlsContext', { require_client_certificate: true }, 'checkout', {
        ca: certificates.caFile,
        own: certificates.serverFile,
      })
      return write(
        directory,
        `proxy-in-${i}.json`,
        listenerOf(port, routes, { transport_socket: context }),
        clusterOf('app', [appPort]),
      )
    },
    check(args) {
      execFileSync('envoy', ['--mode', 'validate', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    },
  }
}

function addressOf(port: number): object {
  return { socket_address: { address: '127.0.0.1', port_value: port } }
}

function listenerOf(port: number, routes: readonly object[], more: object = {}): object {
  const manager = {
    '@type': `${TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'http',
    route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes }] },
    http_filters: [
      { name: 'envoy.filters.http.router', typed_config: { '@type': `${TYPES}.filters.http.router.v3.Router` } },
    ],
  }
  const filters = [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }]
  return { address: addressOf(port), filter_chains: [{ filters, ...more }] }
}

function clusterOf(name: string, ports: readonly number[]): object {
  const lb_endpoints = ports.map((port) => ({ endpoint: { address: addressOf(port) } }))
  return {
    name,
    type: 'STATIC',
    lb_policy: 'LEAST_REQUEST',
    connect_timeout: '1s',
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints }] },
  }
}

/** Mutual TLS 1.3 with a peer of this name. */
function tls(kind: string, more: object, peer: string, files: { ca: string; own: string }): object {
  const own = { filename: files.own }
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': `${TYPES}.transport_sockets.tls.v3.${kind}`,
      ...more,
      common_tls_context: {
        tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
        tls_certificates: [{ certificate_chain: own, private_key: own }],
        validation_context: {
          trusted_ca: { filename: files.ca },
          match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: peer } }],
        },
      },
    },
  }
}

function write(directory: string, name: string, listener: object, cluster: object): readonly string[] {
  const path = join(directory, name)
  writeFileSync(path, JSON.stringify({ static_resources: { listeners: [listener], clusters: [cluster] } }))
  return ['--config-path', path, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'error']
}
