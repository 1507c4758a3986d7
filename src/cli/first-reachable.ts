/** Chooses one of several registries for a command: the first that takes a connection. */
import { connect } from 'node:net'

const WITHIN_MS = 2_000

/** The first one if none does, so that its error is reported. */
export async function firstReachable(urls: readonly URL[]): Promise<URL> {
  if (urls.length > 1) for (const url of urls) if (await takesConnections(url)) return url
  return urls[0]!
}

function takesConnections({ hostname, port, protocol }: URL): Promise<boolean> {
  const host = hostname.replace(/^\[|\]$/g, '')
  const socket = connect({ host, port: port === '' ? (protocol === 'http:' ? 80 : 443) : Number(port) })
  return new Promise((resolve) => {
    const settle = (answer: boolean): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(WITHIN_MS, () => settle(false))
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
  })
}
