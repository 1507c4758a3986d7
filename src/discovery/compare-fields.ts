/** Checks of a document's values against each other. */
import { parseDuration } from '../options/duration.ts'
import type { Issue, Path } from '../options/fields.ts'
import { HASHING_BALANCERS, WEIGHTED_BALANCER } from '../resilience/balancing-settings.ts'
import type { ServiceOptions } from '../resilience/settings.ts'
import { MESH_DOCUMENT, OF_SERVICES, type PolicyDocument } from './policy-document.ts'

/**
 * Values that are valid alone but not together. Only what is written is compared: what is not may
 * come from `mesh`.
 */
export function compareFields(document: PolicyDocument, issues: Issue[]): void {
  comparePolicies(document, [], issues)
  for (const [i, route] of (document.routes ?? []).entries()) comparePolicies(route, ['routes', i], issues)
  compareIntentions(document, issues)
  compareKind(document, issues)
}

function comparePolicies(options: ServiceOptions, at: Path, issues: Issue[]): void {
  const { timeout, retry, ejection, healthCheck, balancer } = options
  const atMost = (path: string[], value: unknown, limitName: string, limit: unknown) => {
    const [ms, limitMs] = [parseDuration(value), parseDuration(limit)]
    if (ms !== undefined && limitMs !== undefined && ms > limitMs) {
      const message = `expected at most ${limitName} (${String(limit)}), got ${String(value)}`
      issues.push({ path: [...at, ...path], message })
    }
  }
  atMost(['retry', 'perTryTimeout'], retry?.perTryTimeout, 'timeout', timeout)
  atMost(['retry', 'backoff', 'base'], retry?.backoff?.base, 'retry.backoff.max', retry?.backoff?.max)
  if (typeof ejection === 'object')
    atMost(['ejection', 'baseTime'], ejection.baseTime, 'ejection.maxTime', ejection.maxTime)
  if (typeof healthCheck === 'object')
    atMost(['healthCheck', 'timeout'], healthCheck.timeout, 'healthCheck.interval', healthCheck.interval)
  if (typeof balancer === 'object' && balancer.key !== undefined && !HASHING_BALANCERS.has(balancer.name)) {
    issues.push({
      path: [...at, 'balancer', 'key'],
      message: `is not used by '${balancer.name}', only by 'ring-hash' and 'maglev'`,
    })
  }
  if (typeof balancer === 'object' && balancer.weights !== undefined && balancer.name !== WEIGHTED_BALANCER) {
    issues.push({
      path: [...at, 'balancer', 'weights'],
      message: `is not used by '${balancer.name}', only by '${WEIGHTED_BALANCER}'`,
    })
  }
}

/** A caller that shows no identity cannot be one certain service. */
function compareIntentions({ allow = [] }: PolicyDocument, issues: Issue[]): void {
  for (const [i, { from, unauthenticated }] of allow.entries()) {
    if (unauthenticated === undefined || from === '*') continue
    const message = `is valid with \`from: '*'\` only: a caller without identity does not prove that it is '${from}'`
    issues.push({ path: ['allow', i, 'unauthenticated'], message })
  }
}

/** What only the document of the mesh may have, or only that of a service. */
function compareKind(document: PolicyDocument, issues: Issue[]): void {
  if (document.service === MESH_DOCUMENT) {
    for (const key of OF_SERVICES) {
      if (document[key] !== undefined)
        issues.push({ path: [key], message: `is valid in the document of a service only` })
    }
    for (const [i, level] of (document.failover ?? []).entries()) {
      for (const key of ['service', 'subset'] as const) {
        if (level[key] === undefined) continue
        const message = 'is valid in the document of a service only: this level would be one of every service'
        issues.push({ path: ['failover', i, key], message })
      }
    }
  }
  if (document.tap !== undefined && document.service !== MESH_DOCUMENT) {
    issues.push({ path: ['tap'], message: `is valid in the document of '${MESH_DOCUMENT}' only` })
  }
  if (document.defaultIntention === undefined) return
  if (document.service !== MESH_DOCUMENT) {
    issues.push({ path: ['defaultIntention'], message: `is valid in the document of '${MESH_DOCUMENT}' only` })
  } else if (document.defaultIntention === 'allow' && document.allow !== undefined) {
    issues.push({
      path: ['defaultIntention'],
      message:
        "is 'allow', which the list 'allow' of this document contradicts: with a list, nobody else may call; leave one out",
    })
  }
}
