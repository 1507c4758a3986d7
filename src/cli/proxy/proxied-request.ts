/**
 * Which service a request to the proxy is for, and whether it may come from where it comes. Pages
 * of other origins reach loopback, by their own requests or by a name that points there.
 */
import type { IncomingMessage } from 'node:http'
import { SERVICE_NAME } from '../../options/names.ts'
import { serviceOfHost } from '../service-url.ts'

export type Proxied =
  | { readonly service: string; readonly path: string }
  | { readonly status: 403 | 404 | 421 | 501; readonly message: string }

/** `port`: that of the proxy. */
export function readProxied(request: IncomingMessage, port: number): Proxied {
  const { url = '/', method, headers } = request
  if (method === 'CONNECT') return { status: 501, message: 'The proxy carries http:// only; take http://<service>/.' }
  const absolute = /^https?:\/\//i.test(url) ? URL.parse(url) : undefined
  if (absolute === null || /^https:/i.test(url)) return { status: 501, message: 'The proxy carries http:// only.' }
  const service = absolute === undefined ? ofHost(headers.host ?? '', port) : named(absolute.host)
  if (service === undefined) return unknownHost(headers.host ?? '', port)
  if (!isOwn(headers.origin, port)) {
    return { status: 403, message: `Pages of ${JSON.stringify(headers.origin)} may not call the mesh by this proxy.` }
  }
  const site = headers['sec-fetch-site']
  // Of a link, a form or an image on a page elsewhere.
  if (headers.origin === undefined && site !== undefined && site !== 'none' && site !== 'same-origin') {
    if (site !== 'same-site')
      return { status: 403, message: 'Pages of other sites may not call the mesh by this proxy.' }
  }
  // The path as it is written.
  const path = absolute === undefined ? url : (/^https?:\/\/[^/?#]*([^#]*)/i.exec(url)?.[1] ?? '')
  return { service, path: path.startsWith('/') ? path : `/${path}` }
}

/** `inventory.localhost:7480` */
function ofHost(host: string, port: number): string | undefined {
  const [, name, given] = /^([^:]+)\.localhost(?::(\d+))?$/i.exec(host) ?? []
  if (name === undefined || Number(given ?? 80) !== port) return undefined
  return named(name)
}

function named(host: string): string | undefined {
  const name = serviceOfHost(host)
  return SERVICE_NAME.test(name) && name !== 'mesh' && name !== 'localhost' ? name : undefined
}

function unknownHost(host: string, port: number): Proxied {
  const usage = `Take http://<service>.localhost:${port}/, or http://<service>/ with this as your proxy.`
  if (/^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?$/.test(host)) {
    return { status: 404, message: `This is inmesh proxy. ${usage}` }
  }
  return { status: 421, message: `The host ${JSON.stringify(host)} is none of this proxy's. ${usage}` }
}

/** No origin, or a service behind this proxy. `null` is a sandbox, a file or a redirect. */
function isOwn(origin: string | undefined, port: number): boolean {
  if (origin === undefined) return true
  const url = URL.parse(origin)
  if (url === null || url.protocol !== 'http:') return false
  return ofHost(url.host, port) !== undefined || (url.port === '' && named(url.hostname) !== undefined)
}
