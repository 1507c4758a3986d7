/**
 * The compiled policies of a service, and the one place that states their order and its reasons. A
 * stack is immutable and replaced as a whole; calls in flight keep theirs.
 */
import type { Call } from '../core/call.ts'
import type { Clock } from '../core/clock.ts'
import type { ErrorCode } from '../core/errors.ts'
import type { Cluster } from '../core/picker.ts'
import type { Policy } from '../core/policy.ts'
import type { Telemetry } from '../core/telemetry.ts'
import type { Alternative } from './alternative.ts'
import type { FaultRule } from './fault-injection.ts'
import type { HedgePolicy } from './hedge.ts'
import type { LimitListener } from './limits/adaptive-limit.ts'
import { ConcurrencyLimitPolicy } from './limits/concurrency-limit.ts'
import { GlobalRateLimitPolicy, type QuotaHost } from './limits/global-rate-limit.ts'
import type { GlobalRateSettings } from './limits/global-rate-settings.ts'
import { RATE_LIMIT, RateLimitPolicy } from './limits/rate-limit.ts'
import type { LimitsSettings } from './limits/settings.ts'
import { RelievedCircuit } from './relieved-circuit.ts'
import { RETRY, RetryPolicy, type RetrySettings } from './retry.ts'
import { RetryBudget } from './retry-budget.ts'
import type { ServiceState } from './service-state.ts'
import type { ServiceSettings } from './settings.ts'
import type { TypicalLatency } from './typical-latency.ts'

/** What a call waits for before it may use a stack. */
export interface Provisional {
  /** The one in force. */
  readonly stack: Stack
  /** Whether the policy in force calls a gRPC method idempotent. */
  isDeclared(method: string): boolean
  /**
   * Calls `proceed` once: without a code when the policy is in force, else with the code, and the
   * cause if there is one. `since`: now.
   */
  await(call: Call, since: number, proceed: (ended: ErrorCode | undefined, cause?: unknown) => void): void
}

export interface Stack {
  /**
   * Bound of a whole call, attempts and waits included; `Infinity` while the policy is not known.
   */
  readonly timeoutMs: number
  /** How long a reader of a long answer may take nothing; clients only. */
  readonly idleMs?: number
  /**
   * The service's policy is not known yet: what stands here are the defaults. @defaultValue it is
   * known
   */
  readonly provisional?: Provisional | undefined
  /** Asked once per call, before an endpoint is chosen. */
  readonly service: readonly Policy[]
  /** Asked for every attempt, with its endpoint. */
  readonly endpoint: readonly Policy[]
  readonly retry: RetryPolicy
  readonly budget: RetryBudget
  /** `undefined`: no second attempt beside a late one. */
  readonly hedge?: HedgePolicy | undefined
  /** Judges timeouts; `undefined` for servers. */
  readonly typicalLatency?: TypicalLatency | undefined
  /** Servers only: faults on purpose. */
  readonly faults?: readonly FaultRule[] | undefined
  /** `undefined` for functions and servers: there is nothing to choose. */
  readonly cluster: Cluster | undefined
  readonly telemetry: Telemetry
  readonly clock: Clock
}

/** The state on which a client's stack works: a service's, or a route's over it. */
export type StackState = Pick<
  ServiceState,
  'circuit' | 'throttle' | 'hedge' | 'budget' | 'unpaidRetry' | 'typicalLatency'
> & { readonly ejection: Policy }

/** What a client's stack is made of. */
export interface ClientParts {
  readonly settings: Pick<ServiceSettings, 'timeoutMs' | 'idleTimeoutMs' | 'ejection' | 'retry'>
  readonly state: StackState
  readonly cluster: Cluster
  /** The balancer's ear, if it learns from attempts. */
  readonly balancer: Policy | undefined
  readonly telemetry: Telemetry
  readonly clock: Clock
  /** @defaultValue the settings are those of the service */
  readonly provisional?: Provisional | undefined
  /** Where several services own the endpoints. @defaultValue those of `state` and `balancer` */
  readonly guards?: readonly Policy[] | undefined
  /** Calls go on to other endpoints when some fail. @defaultValue they do not */
  readonly relief?: Alternative | undefined
}

/**
 * The client's stack, outermost first. What is not in the lists has a fixed place in the execution:
 * call metrics and deadline before everything, retry between service and endpoint, the pick right
 * before the endpoint's policies. Pure: `state` is configured with the same settings by the owner
 * that takes the stack over.
 */
export function compileStack(parts: ClientParts): Stack {
  const { settings, state } = parts
  return Object.freeze({
    timeoutMs: parts.provisional === undefined ? settings.timeoutMs : Number.POSITIVE_INFINITY,
    idleMs: parts.provisional === undefined ? settings.idleTimeoutMs : Number.POSITIVE_INFINITY,
    provisional: parts.provisional,
    service: present([
      // Outside retry: a call counts once, and while the service is down no attempt costs anything.
      state.circuit === undefined || parts.relief === undefined
        ? state.circuit
        : new RelievedCircuit(state.circuit, parts.relief, parts.clock),
    ]),
    endpoint: parts.guards ?? guardsOf(parts),
    // Hedging stands inside retry: a hedged attempt counts and is paid for like a retry.
    retry: new RetryPolicy(settings.retry, state.budget, parts.clock, state.unpaidRetry),
    budget: state.budget,
    hedge: state.hedge,
    typicalLatency: state.typicalLatency,
    cluster: parts.cluster,
    telemetry: parts.telemetry,
    clock: parts.clock,
  })
}

/** What guards the endpoints of one service. */
export interface GuardParts {
  readonly settings: Pick<ServiceSettings, 'ejection'>
  readonly state: Pick<StackState, 'throttle' | 'ejection'>
  readonly balancer: Policy | undefined
}

/** The policies of the endpoints of one service, in their order. */
export function guardsOf(parts: GuardParts): readonly Policy[] {
  const { settings, state } = parts
  return present([
    // Judges the service and not the endpoint; before ejection, so that what is held back takes no
    // probe.
    state.throttle,
    // Before what may refuse after it, because its probe must be released if a later one refuses;
    // never refuses itself.
    settings.ejection === undefined ? undefined : state.ejection,
    // Innermost: it measures what the endpoint alone took.
    parts.balancer,
  ])
}

/** What a server keeps across configurations. */
export class ServerLimits {
  readonly #clock: Clock
  readonly #onLimit: LimitListener | undefined
  #concurrency: ConcurrencyLimitPolicy | undefined
  readonly #quota: QuotaHost | undefined
  #rate: RateLimitPolicy | undefined
  #globalRate: GlobalRateLimitPolicy | undefined

  /**
   * `onLimit`: told when an adaptive limit has moved. `quota`: who leases shares of a global rate;
   * without it no such limit is enforced.
   */
  constructor(clock: Clock, onLimit?: LimitListener, quota?: QuotaHost) {
    this.#clock = clock
    this.#onLimit = onLimit
    this.#quota = quota
  }

  get concurrency(): ConcurrencyLimitPolicy | undefined {
    return this.#concurrency
  }

  get rate(): RateLimitPolicy | undefined {
    return this.#rate
  }

  get globalRate(): GlobalRateLimitPolicy | undefined {
    return this.#globalRate
  }

  configure(limits: LimitsSettings): void {
    const { concurrency, shares, ratePerSecond, global } = limits
    // Off is a limit that is never reached: what was admitted under the old one is still counted
    // when it comes back.
    if (concurrency !== undefined || this.#concurrency !== undefined) {
      const settings = { concurrency: concurrency ?? Number.MAX_SAFE_INTEGER, shares }
      if (this.#concurrency === undefined) {
        this.#concurrency = new ConcurrencyLimitPolicy(settings, this.#clock, this.#onLimit)
      } else this.#concurrency.configure(settings)
    }
    if (ratePerSecond === undefined) this.#rate = undefined
    else {
      const settings = RATE_LIMIT.resolve({ rate: ratePerSecond })
      if (this.#rate === undefined) this.#rate = new RateLimitPolicy(settings, this.#clock)
      else this.#rate.configure(settings)
    }
    this.#configureGlobal(global)
  }

  #configureGlobal(settings: GlobalRateSettings | undefined): void {
    if (settings === undefined || this.#quota === undefined) {
      this.#globalRate?.close()
      this.#globalRate = undefined
    } else if (this.#globalRate !== undefined) this.#globalRate.configure(settings)
    else {
      this.#globalRate = new GlobalRateLimitPolicy(settings, this.#clock, this.#quota)
      this.#globalRate.announce()
    }
  }
}

/** What a server's stack is made of. */
export interface ServerParts {
  /** @defaultValue none */
  readonly faults?: readonly FaultRule[] | undefined
  readonly state: ServerLimits
  readonly telemetry: Telemetry
  readonly clock: Clock
  /** Bound of a request whose caller gave no deadline. @defaultValue none */
  readonly timeoutMs?: number
}

/**
 * The server's stack: a request is a call with one attempt and no endpoint, never tried again.
 * Pure, as {@link compileStack}.
 */
export function compileServerStack(parts: ServerParts): Stack {
  const { state, clock } = parts
  const stack = compileEndpointlessStack(parts.timeoutMs ?? Number.POSITIVE_INFINITY, parts.telemetry, clock, [
    // First: a server that is full must not spend its rate on what it refuses.
    state.concurrency,
    state.rate,
    // Last: what this instance refuses by itself takes nothing from the others' share.
    state.globalRate,
  ])
  const { faults } = parts
  return faults === undefined || faults.length === 0 ? stack : Object.freeze({ ...stack, faults })
}

/** For doors without endpoints. `retry`: only functions may be tried again. */
export function compileEndpointlessStack(
  timeoutMs: number,
  telemetry: Telemetry,
  clock: Clock,
  service: readonly (Policy | undefined)[],
  endpoint: readonly (Policy | undefined)[] = [],
  retry: RetrySettings = NEVER,
  hedge?: HedgePolicy,
): Stack {
  const budget = new RetryBudget(retry.budget, clock)
  return Object.freeze({
    timeoutMs,
    service: present(service),
    endpoint: present(endpoint),
    retry: new RetryPolicy(retry, budget, clock),
    budget,
    hedge,
    cluster: undefined,
    telemetry,
    clock,
  })
}

const NEVER: RetrySettings = Object.freeze({ ...RETRY.defaults, attempts: 1 })

function present(policies: readonly (Policy | undefined)[]): readonly Policy[] {
  return Object.freeze(policies.filter((policy) => policy !== undefined))
}
