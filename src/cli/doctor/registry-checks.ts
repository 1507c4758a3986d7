/** Is each registry reachable, is it the right one, and do the clocks agree? */
import { lookup } from 'node:dns/promises'
import { connect, isIP } from 'node:net'
import { performance } from 'node:perf_hooks'
import { type Clock, systemClock } from '../../core/clock.ts'
import { isMeshError, reasonOf } from '../../core/errors.ts'
import { askRegistry } from '../../discovery/registry/request.ts'
import { hostOf, isLocal, portOf } from '../../discovery/registry/target.ts'
import { type FirstContact, pinnedTlsOptions, unpinnedTlsOptions } from '../../identity/first-contact.ts'
import type { RefusedPeer } from '../../identity/peer-verifier.ts'
import { SKEW_REFUSED_MS, SKEW_REPORTED_MS } from '../../identity/validity.ts'
import { formatDuration } from '../../options/duration.ts'
import type { Finding } from './finding.ts'

/** Of each step: name, connection, TLS, answer. */
const PATIENCE_MS = 3_000

export interface RegistryCheck {
  readonly findings: readonly Finding[]
  /** It answers, and is the one that the pin names. */
  readonly answers: boolean
}

/** `pin`: the fingerprint of its root; `undefined`: there is none to compare with. */
export async function checkRegistry(
  url: string,
  pin: string | undefined,
  clock: Clock = systemClock,
): Promise<RegistryCheck> {
  const host = hostOf(url)
  const failed = (message: string, todo: string): RegistryCheck => ({
    findings: [{ check: 'registry', state: 'failed', subject: url, message, todo }],
    answers: false,
  })
  let found: string
  try {
    found = await resolved(host)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? reasonOf(error)
    return failed(`its name cannot be resolved (${code})`, 'check INMESH_REGISTRY, and the DNS of this machine')
  }
  const unreachable = await connectionMistake(host, portOf(url))
  if (unreachable !== undefined) {
    const local = isLocal(host)
      ? 'start one: `inmesh registry --dev`, or `inmesh dev`'
      : 'is it running, and does a firewall let this machine reach it?'
    return failed(`no connection to ${found}: ${unreachable}`, local)
  }
  const startedAt = performance.now()
  try {
    const at = { host, port: portOf(url), clock, timeoutMs: PATIENCE_MS }
    const contact =
      pin === undefined ? await unpinnedTlsOptions(at) : await pinnedTlsOptions({ ...at, fingerprint: pin })
    const ms = Math.round(performance.now() - startedAt)
    const how = pin === undefined ? 'its root is not pinned' : 'its root is the one that is pinned'
    const message = `${found} answers in ${ms} ms, trust domain ${contact.trustDomain}; ${how}`
    return {
      findings: [{ check: 'registry', state: 'ok', subject: url, message }, await checkClock(url, contact, clock)],
      answers: true,
    }
  } catch (error) {
    return { findings: tlsFindings(url, error), answers: false }
  }
}

async function resolved(host: string): Promise<string> {
  if (isIP(host) !== 0) return host
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error(`no answer within ${formatDuration(PATIENCE_MS)}`)), PATIENCE_MS).unref()
  })
  const all = await Promise.race([lookup(host, { all: true }), late])
  return `${host} (${all.map(({ address }) => address).join(', ')})`
}

/** `undefined`: it takes connections. */
export function connectionMistake(host: string, port: number): Promise<string | undefined> {
  const socket = connect({ host, port })
  return new Promise((resolve) => {
    const settle = (mistake: string | undefined): void => {
      socket.destroy()
      resolve(mistake)
    }
    socket.setTimeout(PATIENCE_MS, () => settle(`no answer within ${formatDuration(PATIENCE_MS)}`))
    socket.once('connect', () => settle(undefined))
    socket.once('error', (error: NodeJS.ErrnoException) =>
      settle(error.code === 'ECONNREFUSED' ? `nothing listens on port ${port}` : (error.code ?? error.message)),
    )
  })
}

function tlsFindings(url: string, error: unknown): readonly Finding[] {
  const finding = { check: 'registry', state: 'failed', subject: url } as const
  const message = reasonOf(error)
  if (!isMeshError(error)) return [{ ...finding, message, todo: 'check INMESH_REGISTRY' }]
  const { reason } = (error.cause ?? {}) as Partial<RefusedPeer>
  if (reason === 'expired' || reason === 'not-yet-valid') {
    const todo = 'set the clock of this machine or of the registry, by NTP'
    return [{ check: 'clock', state: 'failed', subject: url, message, todo }]
  }
  if (error.code === 'identity-rejected') {
    const todo = 'take a token of this registry (`inmesh token create`), or the address of the registry of the token'
    return [{ ...finding, message, todo }]
  }
  return [{ ...finding, message, todo: 'does another program listen there? The registry speaks TLS 1.3' }]
}

/** By the registry's own time, half a round trip ago. */
async function checkClock(url: string, { tls }: FirstContact, clock: Clock): Promise<Finding> {
  const sentAt = performance.now()
  try {
    const { body } = await askRegistry(
      { url, ip: undefined },
      tls as never,
      '/v1/bundle',
      undefined,
      clock,
      PATIENCE_MS,
    )
    const theirs = body.wallNow
    if (typeof theirs !== 'number') throw new Error('its answer has no time')
    const tookMs = performance.now() - sentAt
    return clockFinding(url, clock.wallNow() - tookMs / 2 - theirs, tookMs)
  } catch (error) {
    const message = `the time of the registry is not known: ${reasonOf(error)}`
    return {
      check: 'clock',
      state: 'failed',
      subject: url,
      message,
      todo: 'is it an inmesh registry, and ready? `inmesh status`',
    }
  }
}

/** `aheadMs`: of our clock. */
export function clockFinding(url: string, aheadMs: number, tookMs: number): Finding {
  const off = Math.abs(aheadMs)
  const way = aheadMs < 0 ? 'behind' : 'ahead of'
  const differs = `this machine's clock is ${(off / 1_000).toFixed(1)} s ${way} the registry's`
  const finding = { check: 'clock', subject: url, todo: 'set the clock that is wrong, by NTP' }
  if (off > SKEW_REFUSED_MS + tookMs)
    return { ...finding, state: 'failed', message: `${differs}; at most 300 s are accepted` }
  if (off > SKEW_REPORTED_MS + tookMs) return { ...finding, state: 'warning', message: differs }
  const message = `agrees within ${Math.max(1, Math.ceil(off))} ms`
  return { check: 'clock', state: 'ok', subject: url, message }
}
