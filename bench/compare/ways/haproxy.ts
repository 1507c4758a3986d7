/**
 * HAProxy as the sidecar: one thread each, no log, and policies equal to the mesh's. Health checks
 * run through both proxies every 2 s: each is a handshake, and every 500 ms cost 15 ms of CPU a
 * second.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type SidecarProxy, versionOf } from './sidecar.ts'

const COMMON = `global
  nbthread 1
  maxconn 4000
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-server-options ssl-min-ver TLSv1.3
defaults
  mode http
  timeout connect 1s
  timeout queue 1s
  timeout client 60s
  timeout http-keep-alive 60s
  timeout server 5s
`

/** `undefined` where it is not installed. */
export function findHaproxy(): SidecarProxy | undefined {
  const version = versionOf('haproxy', '-v')
  if (version === undefined) return undefined
  return {
    program: 'haproxy',
    version: version.replace(/ - https.*$/, ''),
    outbound(directory, { port, inboundPorts, certificates }) {
      const servers = inboundPorts.map((inbound, i) => `  server inventory-${i + 1} 127.0.0.1:${inbound}`)
      const tls = `ssl verify required ca-file ${certificates.caFile} crt ${certificates.clientFile} verifyhost inventory sni str(inventory)`
      return write(
        directory,
        'proxy-out.cfg',
        `frontend outbound
  bind 127.0.0.1:${port}
  default_backend inventory
backend inventory
  balance random(2)
  http-reuse safe
  retries 2
  option redispatch 1
  retry-on conn-failure empty-response 502 503 504
  http-request disable-l7-retry if METH_POST
  option httpchk GET /health
  default-server ${tls} check check-sni inventory inter 2s fastinter 500ms fall 2 rise 1 observe layer7 error-limit 5 on-error mark-down maxconn 200
${servers.join('\n')}
`,
      )
    },
    inbound(directory, { i, port, appPort, certificates }) {
      return write(
        directory,
        `proxy-in-${i}.cfg`,
        `frontend inbound
  bind 127.0.0.1:${port} ssl crt ${certificates.serverFile} ca-file ${certificates.caFile} verify required
  http-request deny deny_status 403 unless { ssl_c_s_dn(cn) -m str checkout }
  http-request deny deny_status 403 unless { path_beg /items/ } or { path /health }
  http-request deny deny_status 403 unless METH_GET or METH_POST
  http-request set-header x-peer %[ssl_c_s_dn(cn)]
  default_backend app
backend app
  http-reuse always
  retries 0
  server app 127.0.0.1:${appPort}
`,
      )
    },
    check(args) {
      execFileSync('haproxy', ['-c', '-q', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    },
  }
}

function write(directory: string, name: string, text: string): readonly string[] {
  const path = join(directory, name)
  writeFileSync(path, COMMON + text)
  // In the foreground: one process, which is ours.
  return ['-db', '-f', path]
}
