/**
 * Who may call what, compiled from intentions once per snapshot and asked once per request.
 * Everything that no intention names is decided by the default; there is no rule that denies, so
 * order means nothing and a mistake can only deny.
 */
import type { Intention } from '../discovery/policy-document.ts'
import { AMBIGUOUS, readPath } from './request-path.ts'

/**
 * What was decided and by what: `allow[2]`, or `default`. Made once, so that a decision allocates
 * nothing.
 */
export interface Decision {
  readonly allowed: boolean
  readonly rule: string
}

/** Asked by a server door; replaced whole when the policy changes. */
export interface Authorizer {
  /**
   * `path` as {@link readPath} gives it. `service` is `undefined` for a caller without identity.
   */
  http(service: string | undefined, method: string, path: string): Decision
  /** `path` is `/package.Service/Method`. */
  grpc(service: string | undefined, path: string): Decision
}

interface Rule {
  readonly decision: Decision
  readonly methods: ReadonlySet<string> | undefined
  /** Paths without a wildcard. */
  readonly exact: ReadonlySet<string>
  /** Segments of paths with one; the last may be `*` for any rest. */
  readonly patterns: readonly (readonly string[])[]
  readonly anyPath: boolean
}

const NONE: readonly Rule[] = []

/**
 * A caller without identity is decided by the default only; `from: '*'` means every service of the
 * mesh. With a default of `allow` and no rules, everything is allowed.
 *
 * @example
 * ```ts
 * const authorize = compileIntentions([{ from: 'checkout', methods: ['GET'], paths: ['/items/*'] }], 'deny')
 * authorize.http('checkout', 'GET', '/items/42').allowed // true
 * ```
 */
export function compileIntentions(allow: readonly Intention[], unnamed: 'allow' | 'deny'): Authorizer {
  return new Intentions(allow, unnamed)
}

class Intentions implements Authorizer {
  readonly #http = new Map<string, Rule[]>()
  readonly #grpc = new Map<string, Rule[]>()
  readonly #httpForAll: readonly Rule[]
  readonly #grpcForAll: readonly Rule[]
  readonly #unnamed: Decision

  constructor(allow: readonly Intention[], unnamed: 'allow' | 'deny') {
    this.#unnamed = Object.freeze({ allowed: unnamed === 'allow', rule: 'default' })
    allow.forEach((intention, i) => {
      const decision = Object.freeze({ allowed: true, rule: `allow[${i}]` })
      const { from, methods, paths, grpc } = intention
      const http = methods !== undefined || paths !== undefined
      if (http || grpc === undefined) add(this.#http, from, compileRule(decision, methods, paths))
      if (grpc !== undefined) {
        const methodPaths = grpc.map((method) => `/${method}`)
        add(this.#grpc, from, compileRule(decision, undefined, methodPaths))
      } else if (!http) add(this.#grpc, from, compileRule(decision, undefined, undefined))
    })
    this.#httpForAll = this.#http.get('*') ?? NONE
    this.#grpcForAll = this.#grpc.get('*') ?? NONE
  }

  http(service: string | undefined, method: string, path: string): Decision {
    return this.#decide(this.#http, this.#httpForAll, service, method, path)
  }

  grpc(service: string | undefined, path: string): Decision {
    return this.#decide(this.#grpc, this.#grpcForAll, service, 'POST', path)
  }

  #decide(
    rules: ReadonlyMap<string, readonly Rule[]>,
    forAll: readonly Rule[],
    service: string | undefined,
    method: string,
    path: string,
  ): Decision {
    if (service === undefined) return this.#unnamed
    const own = service === '*' ? undefined : rules.get(service)
    return (
      (own === undefined ? undefined : firstMatch(own, method, path)) ??
      firstMatch(forAll, method, path) ??
      this.#unnamed
    )
  }
}

function add(rules: Map<string, Rule[]>, from: string, rule: Rule): void {
  const list = rules.get(from)
  if (list === undefined) rules.set(from, [rule])
  else list.push(rule)
}

function compileRule(
  decision: Decision,
  methods: readonly string[] | undefined,
  paths: readonly string[] | undefined,
): Rule {
  const exact = new Set<string>()
  const patterns: string[][] = []
  for (const written of paths ?? []) {
    // Read like a request's path, so that `/caf%c3%a9` in a rule is what a request is compared
    // with. An unreadable one matches nothing.
    const path = readPath(written)
    if (path === undefined || path === AMBIGUOUS) continue
    const segments = path.split('/').slice(1)
    if (segments.includes('*')) patterns.push(segments)
    else exact.add(path)
  }
  return {
    decision,
    methods: methods === undefined ? undefined : new Set(methods),
    exact,
    patterns,
    anyPath: paths === undefined,
  }
}

function firstMatch(rules: readonly Rule[], method: string, path: string): Decision | undefined {
  for (let i = 0; i < rules.length; i++) {
    const rule = rules[i]!
    if (rule.methods !== undefined && !rule.methods.has(method)) continue
    if (rule.anyPath || (path.charCodeAt(0) === 0x2f && matchesPath(rule, path))) return rule.decision
  }
  return undefined
}

function matchesPath(rule: Rule, path: string): boolean {
  if (rule.exact.has(path)) return true
  for (let i = 0; i < rule.patterns.length; i++) if (matchesPattern(rule.patterns[i]!, path)) return true
  return false
}

/** Walks the path segment by segment; allocates nothing. */
function matchesPattern(segments: readonly string[], path: string): boolean {
  let at = 1
  const last = segments.length - 1
  for (let i = 0; i <= last; i++) {
    const segment = segments[i]!
    if (segment === '*' && i === last) return at < path.length
    const slash = path.indexOf('/', at)
    const end = slash < 0 ? path.length : slash
    if (segment === '*' ? end === at : end - at !== segment.length || !path.startsWith(segment, at)) return false
    if (slash < 0) return i === last
    at = slash + 1
  }
  return false
}
