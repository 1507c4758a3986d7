/**
 * Intentions compiled to rules. Intentions only allow: their order means nothing, and a call that
 * none of them names gets the default.
 */
import type { Protocol } from '../core/protocol.ts'
import { AMBIGUOUS, readPath } from '../net/request-path.ts'
import type { Intention } from './intention.ts'

/** Allocated once per rule, so that a decision allocates nothing. */
export interface IntentionDecision {
  readonly allowed: boolean
  /** The rule that decided: `allow[2]`, or `default`. */
  readonly rule: string
}

interface Rule {
  readonly decision: IntentionDecision
  readonly methods: ReadonlySet<string> | undefined
  /** Paths without a wildcard. */
  readonly exact: ReadonlySet<string>
  /** Segments of paths with a wildcard; a last `*` matches any rest. */
  readonly patterns: readonly (readonly string[])[]
  readonly anyPath: boolean
}

const NONE: readonly Rule[] = []
/** The key of rules for callers without identity. No service has this name. */
const UNAUTHENTICATED = ''

/**
 * `from: '*'` matches every service of the mesh, and with `unauthenticated` every caller. Without
 * such a rule, a caller without identity gets the default.
 */
export class IntentionRules {
  readonly #http = new Map<string, Rule[]>()
  readonly #grpc = new Map<string, Rule[]>()
  readonly #tcp = new Map<string, Rule[]>()
  readonly #httpForAll: readonly Rule[]
  readonly #grpcForAll: readonly Rule[]
  readonly #tcpForAll: readonly Rule[]
  readonly #unnamed: IntentionDecision

  constructor(allow: readonly Intention[], unnamed: 'allow' | 'deny') {
    this.#unnamed = Object.freeze({ allowed: unnamed === 'allow', rule: 'default' })
    allow.forEach((intention, i) => {
      const decision = Object.freeze({ allowed: true, rule: `allow[${i}]` })
      const { from, unauthenticated, methods, paths, grpc, tcp } = intention
      const named = unauthenticated === true ? [from, UNAUTHENTICATED] : [from]
      const http = methods !== undefined || paths !== undefined
      const everything = !http && grpc === undefined && tcp === undefined
      if (http || everything) add(this.#http, named, compileRule(decision, methods, paths))
      if (grpc !== undefined) {
        const methodPaths = grpc.map((method) => `/${method}`)
        add(this.#grpc, named, compileRule(decision, undefined, methodPaths))
      } else if (everything) add(this.#grpc, named, compileRule(decision, undefined, undefined))
      // Only by name: a connection carries what nothing here can look into.
      if (tcp === true) add(this.#tcp, named, compileRule(decision, undefined, undefined))
    })
    this.#httpForAll = this.#http.get('*') ?? NONE
    this.#grpcForAll = this.#grpc.get('*') ?? NONE
    this.#tcpForAll = this.#tcp.get('*') ?? NONE
  }

  /**
   * `path` is that of the request, normalized by `readPath`; of gRPC `/package.Service/Method`.
   * Connections of TCP have neither path nor method.
   */
  decide(protocol: Protocol, caller: string | undefined, method: string, path: string): IntentionDecision {
    if (protocol === 'tcp') return this.#decide(this.#tcp, this.#tcpForAll, caller, method, path)
    return protocol === 'grpc'
      ? this.#decide(this.#grpc, this.#grpcForAll, caller, method, path)
      : this.#decide(this.#http, this.#httpForAll, caller, method, path)
  }

  #decide(
    rules: ReadonlyMap<string, readonly Rule[]>,
    forAll: readonly Rule[],
    service: string | undefined,
    method: string,
    path: string,
  ): IntentionDecision {
    if (service === undefined) return firstMatch(rules.get(UNAUTHENTICATED) ?? NONE, method, path) ?? this.#unnamed
    const named = service === '*' || service === UNAUTHENTICATED ? undefined : rules.get(service)
    return (
      (named === undefined ? undefined : firstMatch(named, method, path)) ??
      firstMatch(forAll, method, path) ??
      this.#unnamed
    )
  }
}

function add(rules: Map<string, Rule[]>, callers: readonly string[], rule: Rule): void {
  for (const caller of callers) {
    const list = rules.get(caller)
    if (list === undefined) rules.set(caller, [rule])
    else list.push(rule)
  }
}

function compileRule(
  decision: IntentionDecision,
  methods: readonly string[] | undefined,
  paths: readonly string[] | undefined,
): Rule {
  const exact = new Set<string>()
  const patterns: string[][] = []
  for (const written of paths ?? []) {
    // Normalized like a request's path: `/caf%c3%a9` matches its other spellings. An unreadable
    // path matches nothing.
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

function firstMatch(rules: readonly Rule[], method: string, path: string): IntentionDecision | undefined {
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

/** Compares segment by segment without allocation. */
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
