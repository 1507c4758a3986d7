/**
 * The routes of one document, compiled for one caller and protocol: an index by path, each entry in
 * the order of the document. A decision allocates nothing, unless a condition on the query or a
 * regular expression needs a part of the path as text.
 */
import type { Protocol } from '../core/protocol.ts'
import type { RequestHead } from '../core/request-head.ts'
import { hostHolds } from './first-match.ts'
import { DEFAULT_NAMESPACE } from './match.ts'
import { PathCursor } from './path-cursor.ts'
import { PathIndex, type PathNode } from './path-index.ts'
import { isWhole } from './path-pattern.ts'
import { QueryReader } from './query-reader.ts'
import { compileRule, headersHold, isUnconditional, methodBit, queryHolds, type Rule } from './rule.ts'
import { RuleList } from './rule-list.ts'
import type { MatchSettings, RouteSettings } from './settings.ts'

const NONE = Number.POSITIVE_INFINITY

export class RouteTable {
  readonly #grpc: boolean
  readonly #index = new PathIndex()
  /** Rules without a path, or with one by a regular expression. */
  readonly #anywhere = new RuleList()
  readonly #cursor: PathCursor
  readonly #query = new QueryReader()
  /** A route matches every request, so no later one is reached. */
  #closed = false
  // The state of one decision; it is synchronous.
  #head: RequestHead | undefined = undefined
  #method = 0
  #readable = false
  #best = NONE
  #found: RouteSettings | undefined = undefined

  /**
   * @param caller - our service, which `from` names
   * @param namespace - of our process, which `fromNamespace` names
   * @param service - the called one, which the header `host` names
   * @throws Error if a regular expression is invalid, or re2js is not installed
   */
  constructor(
    routes: readonly RouteSettings[],
    caller: string,
    protocol: Protocol,
    namespace = DEFAULT_NAMESPACE,
    service?: string,
  ) {
    this.#grpc = protocol === 'grpc'
    for (const [order, route] of routes.entries()) {
      if (route.matches.length === 0) this.#add(compileRule(order, route, undefined), undefined)
      for (const match of route.matches) {
        if (match.protocol !== undefined && match.protocol !== protocol) continue
        if (match.from !== undefined && !match.from.includes(caller)) continue
        if (match.namespace !== undefined && match.namespace !== namespace) continue
        if (!hostHolds(match, service)) continue
        this.#add(compileRule(order, route, match), match)
      }
      if (this.#closed) break
    }
    this.#anywhere.finish()
    this.#index.finish()
    this.#cursor = new PathCursor(this.#index.depth)
  }

  #add(rule: Rule, match: MatchSettings | undefined): void {
    const { path, grpc } = match ?? {}
    if (grpc?.kind === 'names') this.#index.add({ segments: [grpc.service, grpc.method], end: 'exact' }, rule)
    else if (path?.kind === 'segments' && !isWhole(path)) this.#index.add(path, rule)
    else {
      this.#anywhere.add(rule)
      this.#closed ||= isUnconditional(rule)
    }
  }

  /** The first route whose match holds; `undefined`: none. */
  find(head: RequestHead): RouteSettings | undefined {
    this.#head = head
    this.#best = NONE
    this.#found = undefined
    try {
      this.#readable = this.#grpc ? this.#cursor.readGrpc(head.method) : this.#cursor.read(head.path)
      if (!this.#grpc) {
        this.#method = methodBit(head.method)
        this.#query.reset(head.path)
      }
      if (this.#readable && this.#index.root.first < NONE) this.#visit(this.#index.root, 0)
      this.#consider(this.#anywhere)
      return this.#found
    } finally {
      // The last request's body is not kept.
      this.#head = undefined
      this.#found = undefined
      this.#query.reset('')
    }
  }

  /** `depth` segments lead to `node`. */
  #visit(node: PathNode, depth: number): void {
    if (node.first >= this.#best) return
    const cursor = this.#cursor
    if (node.prefix !== undefined) this.#consider(node.prefix)
    if (depth === cursor.count) {
      if (node.exact !== undefined) this.#consider(node.exact)
      return
    }
    const start = cursor.start(depth)
    const end = cursor.endOf(depth)
    const child = node.child(cursor.hash(depth), cursor.path, start, end)
    if (child !== undefined) this.#visit(child, depth + 1)
    if (node.any !== undefined && end > start) this.#visit(node.any, depth + 1)
    if (node.rest !== undefined && cursor.end > start) this.#consider(node.rest)
  }

  #consider(list: RuleList): void {
    if (list.first >= this.#best) return
    this.#firstOf(list.plain)
    for (let i = 0; i < list.byHeader.length; i++) {
      const { name, rules } = list.byHeader[i]!
      const value = this.#head!.header(name)
      const alike = value === undefined ? undefined : rules.get(value)
      if (alike !== undefined) this.#firstOf(alike)
    }
  }

  #firstOf(rules: readonly Rule[]): void {
    for (let i = 0; i < rules.length; i++) {
      const rule = rules[i]!
      if (rule.order >= this.#best) return
      if (!this.#holds(rule)) continue
      this.#best = rule.order
      this.#found = rule.route
      return
    }
  }

  #holds({ methods, headers, query, regex }: Rule): boolean {
    if (methods !== 0 && (methods & this.#method) === 0) return false
    if (!headersHold(headers, this.#head!) || !queryHolds(query, this.#query)) return false
    return regex === undefined || this.#matches(regex)
  }

  #matches(regex: (text: string) => boolean): boolean {
    if (this.#grpc) return regex(this.#head!.method.slice(1))
    const { path, end } = this.#cursor
    return this.#readable && regex(end === path.length ? path : path.slice(0, end))
  }
}
