/** What a TCP server forwards connections to: an address, or a Unix socket. */
import { connect, type Socket } from 'node:net'
import { SOCKET_OPTIONS } from '../port.ts'

export type Target = { readonly host: string; readonly port: number } | { readonly path: string }

const ADDRESS = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9._-]{1,253})):(\d{1,5})$/
/** A longer path does not fit the system's address of a Unix socket. */
const LONGEST_PATH = 107

/** `undefined`: it is none. */
export function readTarget(text: string): Target | undefined {
  if (text.startsWith('/')) return text.length > 1 && text.length <= LONGEST_PATH ? { path: text } : undefined
  const [, v6, name, digits] = ADDRESS.exec(text) ?? []
  const port = Number(digits)
  const host = v6 ?? name
  return host !== undefined && port >= 1 && port <= 65_535 ? { host, port } : undefined
}

/** As events name it. */
export function labelOfTarget(target: Target): string {
  if ('path' in target) return target.path
  return target.host.includes(':') ? `[${target.host}]:${target.port}` : `${target.host}:${target.port}`
}

/** Half-closed on one side, it stays open on the other. */
export function connectTo(target: Target): Socket {
  return connect({ ...target, allowHalfOpen: true, ...SOCKET_OPTIONS })
}
