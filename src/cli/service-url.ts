/** A URL whose host is a service, as commands take it: `http://inventory/items/42`. */
import { SERVICE_NAME } from '../options/names.ts'
import { invalidUsage } from './failure.ts'

export interface ServiceUrl {
  readonly service: string
  /** As it is written, with its query: `URL` would resolve dots and escapes. */
  readonly path: string
}

/** @throws Failure that says what is `wanted` */
export function readServiceUrl(text: string, wanted: string): ServiceUrl {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol)) throw invalidUsage(`${wanted}, got ${JSON.stringify(text)}`)
  if (url.port !== '' || url.username !== '') {
    throw invalidUsage(`the host of a URL is a service, without port and user: http://${url.hostname}${url.pathname}`)
  }
  const path = /^https?:\/\/[^/?#]*([^#]*)/i.exec(text)?.[1] ?? ''
  return { service: serviceOfHost(url.hostname), path: path.startsWith('/') ? path : `/${path}` }
}

/** `inventory.mesh` is `inventory`. */
export function serviceOfHost(host: string): string {
  return host.toLowerCase().replace(/\.mesh$/, '')
}

/** @throws Failure if it cannot be the name of a service */
export function checkService(service: string): void {
  if (SERVICE_NAME.test(service) && service !== 'mesh') return
  throw invalidUsage(
    `${JSON.stringify(service)} is no service name: 1 to 63 lower-case letters, digits and '-'; 'mesh' is reserved`,
  )
}
