/**
 * What the routes of a service's document become. Made once per document, frozen, and read by the
 * callers of the service.
 */
import type { FaultRule } from '../resilience/fault-injection.ts'
import type { ServiceOptions, ServiceSettings } from '../resilience/settings.ts'
import type { PathPattern } from './path-pattern.ts'
import type { ValueMatch } from './value-match.ts'

/** Everything that a document says of where calls go. */
export interface RoutingSettings {
  readonly subsets: ReadonlyMap<string, SubsetSettings>
  /** In the order in which they are tried. */
  readonly routes: readonly RouteSettings[]
  /** Of calls that no route matches. `undefined`: calls stay with the service's endpoints. */
  readonly failover: readonly FailoverLevel[] | undefined
  /** What happens to a call that no route matches. `refuse`: 404, or UNIMPLEMENTED in gRPC. */
  readonly unmatched: 'service' | 'refuse'
  /** `undefined`: no caller may override a target. */
  readonly overrides: OverrideSettings | undefined
}

/** A named group of instances: those that fulfil all conditions. */
export interface SubsetSettings {
  readonly name: string
  /** `undefined`: any version. */
  readonly version: string | undefined
  /** Keys with the exact values that an instance must have. */
  readonly metadata: readonly (readonly [key: string, value: string])[]
}

export interface RouteSettings {
  readonly name: string
  /** Alternatives. Empty: every request. */
  readonly matches: readonly MatchSettings[]
  /** At least one, unless there is an `answer`. More than one: a split. */
  readonly targets: readonly TargetSettings[]
  readonly sticky: StickySettings | undefined
  readonly session: SessionSettings | undefined
  readonly mirrors: readonly MirrorSettings[]
  readonly headers: HeaderChanges | undefined
  readonly responseHeaders: HeaderChanges | undefined
  readonly rewrite: RewriteSettings | undefined
  /** Made by the caller's process, without an attempt. */
  readonly answer: RedirectSettings | FixedAnswerSettings | undefined
  /** Faults in the caller. The faults of `policy` are those of the service's servers. */
  readonly faults: readonly FaultRule[]
  /** Complete: the route's over the service's over the mesh's over the defaults. */
  readonly policy: ServiceSettings
  /** The keys that the route itself writes: their state is separate from the service's. */
  readonly own: ReadonlySet<keyof ServiceOptions>
  readonly failover: readonly FailoverLevel[] | undefined
}

/** A gRPC method: `undefined` for any name. A regular expression reads `pkg.Service/Method`. */
export type GrpcMatch =
  | { readonly kind: 'names'; readonly service: string | undefined; readonly method: string | undefined }
  | { readonly kind: 'regex'; readonly source: string }

/** `undefined` for a condition that is not written. */
export interface MatchSettings {
  readonly methods: readonly string[] | undefined
  readonly path: PathPattern | undefined
  /** Names in lower case. */
  readonly headers: readonly (readonly [name: string, value: ValueMatch])[]
  readonly query: readonly (readonly [name: string, value: ValueMatch])[]
  readonly grpc: GrpcMatch | undefined
  /** The calling services. */
  readonly from: readonly string[] | undefined
  /** Of the calling process. */
  readonly namespace: string | undefined
  /** `undefined`: both. */
  readonly protocol: 'http' | 'grpc' | undefined
}

/** Endpoints that a route sends to. */
export interface TargetSettings {
  /**
   * Unique in a service's document: `green`, `service:inventory-eu`, `service:inventory-eu/green`;
   * `''` for the service as it is.
   */
  readonly key: string
  readonly service: string
  /** Of another service: its name, defined in that service's document. */
  readonly subset: SubsetSettings | string | undefined
  /** A share of the sum of the weights; 1 without a split. */
  readonly weight: number
  readonly headers: HeaderChanges | undefined
  readonly responseHeaders: HeaderChanges | undefined
  /** Its calls fail at once: 500, or UNAVAILABLE in gRPC. */
  readonly missing: boolean
}

/** The part of a request whose value decides between the targets of a split. */
export interface StickySettings {
  readonly from: 'header' | 'cookie' | 'query' | 'baggage'
  /** A header's in lower case. */
  readonly name: string
}

/** Where the token of a session is carried: exactly one of `cookie` and `header`. */
export interface SessionSettings {
  readonly cookie: string | undefined
  readonly header: string | undefined
  /** `Infinity`: none. */
  readonly lifetimeMs: number
  readonly path: string
  readonly permanent: boolean
}

/** A copy of a share of the requests, whose answer is dropped. */
export interface MirrorSettings {
  readonly target: TargetSettings
  /** From 0 to 1. */
  readonly share: number
}

/** Applied in this order: `remove`, `set`, `add`. Names are in lower case. */
export interface HeaderChanges {
  readonly set: readonly (readonly [name: string, value: string])[]
  readonly add: readonly (readonly [name: string, value: string])[]
  readonly remove: readonly string[]
}

export interface RewriteSettings {
  readonly path: PathRewrite | undefined
  readonly host: string | undefined
}

/**
 * `template`: a whole path, in which `{name}` stands for the segment that the match bound.
 * `prefix`: replaces the prefix that the match named.
 */
export type PathRewrite =
  | { readonly kind: 'template'; readonly template: string }
  | { readonly kind: 'prefix'; readonly prefix: string }

export interface RedirectSettings {
  readonly kind: 'redirect'
  readonly status: number
  /** `undefined` for what stays as the caller wrote it. */
  readonly scheme: 'http' | 'https' | undefined
  readonly host: string | undefined
  readonly port: number | undefined
  readonly path: PathRewrite | undefined
}

export interface FixedAnswerSettings {
  readonly kind: 'respond'
  readonly status: number
  /** A number of gRPC other than OK. */
  readonly grpcStatus: number
  readonly body: string
  readonly headers: readonly (readonly [name: string, value: string])[]
}

/** One priority of endpoints. The next takes over what the levels before it cannot carry. */
export type FailoverLevel =
  | { readonly kind: 'zone' | 'region'; readonly where: 'same' | 'any' }
  | {
      readonly kind: 'metadata'
      /** The value of this process's own metadata, where `same`. */
      readonly entries: readonly (readonly [key: string, value: string])[]
    }
  | {
      readonly kind: 'service'
      /** `undefined`: the service that the call is made to. */
      readonly service: string | undefined
      readonly subset: string | undefined
    }

/** Which services may send a request to another target than its route's. */
export interface OverrideSettings {
  readonly from: readonly string[]
  /** The services that may be overridden. */
  readonly services: readonly string[] | '*'
}
