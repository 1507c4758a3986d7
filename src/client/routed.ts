/**
 * What a route has chosen for a call: the one object from which all doors read the target and the
 * changes that the route asks for. Made once per document and shared by its calls.
 */
import type { RoutedCall } from '../core/call.ts'
import type { FaultRule } from '../resilience/fault-injection.ts'
import type {
  FixedAnswerSettings,
  HeaderChanges,
  RedirectSettings,
  RewriteSettings,
  RouteSettings,
  TargetSettings,
} from '../routing/settings.ts'
import type { MirrorTarget } from './mirror/target.ts'

const UNMATCHED = answerOf(404, 12)
const MISSING = answerOf(500, 14)
const NO_CHANGES: readonly HeaderChanges[] = Object.freeze([])
const NO_MIRRORS: readonly MirrorTarget[] = Object.freeze([])
const NO_FAULTS: readonly FaultRule[] = Object.freeze([])

export class Routed implements RoutedCall {
  /** The route's; empty if no route matched and the document refuses such calls. */
  readonly name: string
  readonly route: RouteSettings | undefined
  /** `undefined` if the route answers by itself. */
  readonly target: TargetSettings | undefined
  /** Of the route, then of the target. */
  readonly requestChanges: readonly HeaderChanges[]
  readonly responseChanges: readonly HeaderChanges[]
  readonly rewrite: RewriteSettings | undefined
  /** Whether requests are changed before they are sent. */
  readonly changesRequests: boolean
  /** Made by this process, without an attempt. */
  readonly answer: RedirectSettings | FixedAnswerSettings | undefined
  readonly faults: readonly FaultRule[]
  /** The member of the baggage by which its split is sticky. */
  readonly sideBy: string | undefined
  /** What copies of its calls go to. */
  readonly mirrors: readonly MirrorTarget[]
  /** Whether a call may end in this process. */
  readonly local: boolean

  /**
   * `caller`: our own service. Without `route`: the answer to calls that no route matches.
   */
  constructor(
    route: RouteSettings | undefined,
    target: TargetSettings | undefined,
    caller: string,
    mirrors: readonly MirrorTarget[] = NO_MIRRORS,
  ) {
    this.name = route?.name ?? ''
    this.route = route
    this.target = target
    this.requestChanges = present(route?.headers, target?.headers)
    this.responseChanges = present(route?.responseHeaders, target?.responseHeaders)
    this.rewrite = route?.rewrite
    this.changesRequests = this.requestChanges.length > 0 || this.rewrite !== undefined
    this.answer = target?.missing === true ? MISSING : (route?.answer ?? (route === undefined ? UNMATCHED : undefined))
    this.sideBy =
      route !== undefined && route.targets.length > 1 && route.sticky?.from === 'baggage'
        ? route.sticky.name
        : undefined
    this.faults = faultsFor(caller, route?.faults ?? NO_FAULTS)
    this.mirrors = mirrors
    this.local = this.answer !== undefined || this.faults.length > 0
  }
}

export function present(...changes: readonly (HeaderChanges | undefined)[]): readonly HeaderChanges[] {
  const given = changes.filter((each) => each !== undefined)
  return given.length === 0 ? NO_CHANGES : Object.freeze(given)
}

/** Those that hit our calls. */
function faultsFor(caller: string, faults: readonly FaultRule[]): readonly FaultRule[] {
  const ours = faults.filter(({ from }) => from === undefined || from === caller)
  return Object.freeze(ours.map((rule) => ({ ...rule, from: undefined })))
}

function answerOf(status: number, grpcStatus: number): FixedAnswerSettings {
  return Object.freeze({ kind: 'respond', status, grpcStatus, body: '', headers: Object.freeze([]) })
}
