/**
 * How `checkout` calls `inventory` in each way: `(method, path, body) => { status, text }`. What is
 * here is what a user writes.
 */
import { Pool } from 'undici'

/**
 * The same bound in every way: HAProxy's `timeout server`, Envoy's route timeout, inmesh's
 * `timeout`.
 */
const TIMEOUT_MS = 5_000

/**
 * One after the other, kept-alive connections, no retries: what is written by hand when nothing is
 * bought or imported.
 */
export function direct({ ports, tls }) {
  const connect =
    tls === undefined
      ? {}
      : { connect: { ...tls, servername: 'inventory', minVersion: 'TLSv1.3', rejectUnauthorized: true } }
  const bounds = { headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS }
  const scheme = tls === undefined ? 'http' : 'https'
  const pools = ports.map((port) => new Pool(`${scheme}://127.0.0.1:${port}`, { ...bounds, ...connect }))
  let turn = 0
  return async (method, path, body) => {
    const pool = pools[turn++ % pools.length]
    const answer = await pool.request({ method, path, body, headers: body && { 'content-type': 'application/json' } })
    return { status: answer.statusCode, text: await answer.body.text() }
  }
}

/** The sidecar knows where inventory is; to the service there is one address. */
export const sidecar = direct

export async function inmesh() {
  const { joinMesh } = await import('inmesh')
  const mesh = await joinMesh({ service: 'checkout' })
  const inventory = mesh.http('inventory')
  return async (method, path, body) => {
    const answer = await inventory.request(
      method,
      path,
      body && { body, headers: { 'content-type': 'application/json' } },
    )
    return { status: answer.status, text: await answer.text() }
  }
}
