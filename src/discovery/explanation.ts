/** What an explanation of a request says; the same from a process and from the registry. */
import type { Protocol } from '../core/protocol.ts'
import type { TriedRoute } from '../routing/explain-route.ts'
import type { PolicyValue } from '../routing/policy-values.ts'

/** How one request is routed, and why. As JSON it is the same. */
export interface Explanation {
  readonly service: string
  /** The calling service; `null`: not given. */
  readonly from: string | null
  readonly protocol: Protocol
  /** `GET`, or `/shop.Inventory/Quote`. */
  readonly method: string
  /** With its query. */
  readonly path: string
  /** The routes up to the one that takes the request, each with what fails. */
  readonly routes: readonly TriedRoute[]
  /** The route that takes the request; `null`: none does. */
  readonly route: string | null
  /**
   * `send`: to one of `targets`. `redirect`, `respond`: the caller's process answers. `refuse`: no
   * route matches, and the document says that the call then fails (404, UNIMPLEMENTED).
   */
  readonly action: 'send' | 'redirect' | 'respond' | 'refuse'
  /** What the caller's process answers. */
  readonly answer: ExplainedAnswer | null
  /** Where the route sends; more than one: a split. */
  readonly targets: readonly ExplainedTarget[]
  /** The key of the target that this request takes; `null`: each call is drawn by weight. */
  readonly target: string | null
  readonly sticky: ExplainedSticky | null
  /** What the request itself asks for, by `x-inmesh-route`; `null`: nothing of this service. */
  readonly override: ExplainedOverride | null
  /** Levels of endpoints in their order; empty: all are one level. */
  readonly failover: readonly ExplainedLevel[]
  /** Every policy of the caller, with the document that each value comes from. */
  readonly policies: readonly PolicyValue[]
  readonly mirrors: readonly ExplainedMirror[]
  readonly headers: ExplainedHeaders | null
  readonly responseHeaders: ExplainedHeaders | null
  readonly rewrite: ExplainedRewrite | null
  /** The number of faults on purpose in the caller. */
  readonly faults: number
  /** What is valid and may not be meant, such as a subset without instances. */
  readonly warnings: readonly ExplainedWarning[]
}

/** Where a route sends. */
export interface ExplainedTarget {
  /** `green`, `service:inventory-eu`, `service:inventory-eu/green`; `''`: the service as it is. */
  readonly key: string
  readonly service: string
  /** `null`: all instances of the service. */
  readonly subset: string | null
  readonly weight: number
  /** Of the calls of the route, from 0 to 1. */
  readonly share: number
  /** There is no such target: its calls fail at once. */
  readonly missing: boolean
  readonly endpoints: readonly ExplainedEndpoint[]
  /** Whether the target's servers let the caller in. */
  readonly intention: ExplainedIntention
  /** Changes after those of the route. */
  readonly headers: ExplainedHeaders | null
  readonly responseHeaders: ExplainedHeaders | null
}

/** An endpoint of a target. */
export interface ExplainedEndpoint {
  readonly id: string
  /** `host:port`. */
  readonly address: string
  readonly zone: string | null
  readonly version: string | null
  readonly weight: number
  /** What its server offers, best first; `null`: not known. */
  readonly transports: readonly string[] | null
  /**
   * From the registry `ready`, `draining` or `disabled`; from a process `healthy`, `ejected`,
   * `probing` or `draining`.
   */
  readonly state: string
}

/** A level of failover. */
export interface ExplainedLevel {
  /** As it is written. */
  readonly level: Readonly<Record<string, unknown>>
  /** Of another service, or a subset; `null`: they depend on where the caller runs. */
  readonly endpoints: readonly ExplainedEndpoint[] | null
}

/** The rule of a server that decides about a caller. */
export interface ExplainedIntention {
  readonly allowed: boolean
  /** `allow[2]`, or `default`. */
  readonly rule: string
  /** The document that has the rule: of the service, of the mesh, or none. */
  readonly from: 'service' | 'mesh' | 'default'
  /** If the request is denied: rules that name the caller for others. */
  readonly others: readonly ExplainedRule[]
}

/** A rule that names a caller, and what it allows. */
export interface ExplainedRule {
  /** `allow[2]`. */
  readonly rule: string
  /** Of HTTP; `null`: any. */
  readonly methods: readonly string[] | null
  /** Of HTTP; `null`: any. */
  readonly paths: readonly string[] | null
  /** Methods of gRPC; `null`: none. */
  readonly grpc: readonly string[] | null
  /** TCP connections. */
  readonly tcp: boolean
}

/** The part of the request that decides between the targets of a split. */
export interface ExplainedSticky {
  readonly from: 'header' | 'cookie' | 'query' | 'baggage'
  readonly name: string
  /** `null`: the request has none, and is drawn by weight. */
  readonly value: string | null
}

/** Another target for one request. */
export interface ExplainedOverride {
  /** The service that introduced it; `null`: not known. */
  readonly origin: string | null
  /** The target instead of the route's; `null`: it counts for nothing. */
  readonly target: string | null
  /** Why it counts for nothing. */
  readonly refused: string | null
}

/** A copy of a share of the requests. */
export interface ExplainedMirror {
  /** As the key of a target. */
  readonly target: string
  /** From 0 to 1. */
  readonly share: number
}

/** Changes of headers. */
export interface ExplainedHeaders {
  readonly remove: readonly string[]
  readonly set: Readonly<Record<string, string>>
  readonly add: Readonly<Record<string, string>>
}

/** What the service sees instead; `null`: as the caller wrote it. */
export interface ExplainedRewrite {
  readonly path: string | null
  readonly host: string | null
}

/** An answer of the caller's process. */
export interface ExplainedAnswer {
  /** Of HTTP. */
  readonly status: number
  /** Of a gRPC call, such as `UNIMPLEMENTED`; `null` for HTTP. */
  readonly grpcStatus: string | null
  /** Of a redirect. */
  readonly location: string | null
}

/** A remark, with its place in the document of the service. */
export interface ExplainedWarning {
  readonly path: readonly (string | number)[]
  readonly message: string
}
