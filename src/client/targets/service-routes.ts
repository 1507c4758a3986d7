/**
 * The routes of one service as this process calls it. A route is compiled when it is first chosen;
 * a new document starts over and keeps state by the names of routes and targets.
 */
import type { Clock } from '../../core/clock.ts'
import type { RequestHead } from '../../core/request-head.ts'
import type { Telemetry } from '../../core/telemetry.ts'
import type { ServiceListeners } from '../../resilience/service-state.ts'
import type { ServiceSettings } from '../../resilience/settings.ts'
import { compileStack, guardsOf, type Stack } from '../../resilience/stack.ts'
import { RouteTable } from '../../routing/route-table.ts'
import type { FailoverLevel, RouteSettings, RoutingSettings, TargetSettings } from '../../routing/settings.ts'
import { divertedRoute, type OverrideRefused, TargetOverrides } from '../../routing/target-overrides.ts'
import type { PeerReading } from '../../telemetry/mesh-gauges.ts'
import type { BalancingClient } from '../balancing/arranged.ts'
import type { CallContext } from '../call-context.ts'
import { compileMirror } from '../mirror/route-mirrors.ts'
import { Routed } from '../routed.ts'
import type { Selection } from '../selection.ts'
import { type KindParts, Selections } from '../selections.ts'
import type { EndpointOwner, HoldOwner } from './endpoint-owner.ts'
import { FailoverTargets, type FailoverWish } from './failover-targets.ts'
import { HeldServices } from './held-services.ts'
import { membersOf, subsetOf } from './members-of.ts'
import { balancingOf, clusterKey, hasOwnPicker, nowhere, servicesNamedBy } from './route-parts.ts'
import { RouteState } from './route-state.ts'
import { withSessions } from './session-cluster.ts'
import { TargetChoice } from './target-choice.ts'
import { type TargetCluster, TargetClusters } from './target-clusters.ts'

/** Targets come from requests, so the choices kept are bounded. */
const MOST_DIVERTED = 50
const NO_LEVELS: readonly FailoverLevel[] = Object.freeze([])

export interface ServiceRoutesParts extends KindParts {
  /** The service whose document has the routes. */
  readonly called: EndpointOwner
  /** Our own service, for routes that name the calling one. */
  readonly caller: string
  readonly client: BalancingClient
  readonly clock: Clock
  readonly telemetry: Telemetry
  readonly hold: HoldOwner
  /** Listeners to the separate state of a route. */
  readonly listeners: (route: string) => ServiceListeners
  readonly onOverrideRefused: OverrideRefused
  /** The endpoints of another service, to which a route leads, may have changed. */
  readonly onEndpoints: () => void
}

export class ServiceRoutes {
  readonly #parts: ServiceRoutesParts
  readonly #held: HeldServices
  readonly #clusters: TargetClusters
  readonly #states = new Map<string, RouteState>()
  /** By the route's name; turns outlive a change of weights. */
  readonly #choices = new Map<string, TargetChoice>()
  readonly #compiled = new Map<RouteSettings, TargetChoice>()
  readonly #failovers: FailoverTargets
  #routing: RoutingSettings
  #table: RouteTable
  /** For calls that no route matches; `undefined`: they go to the service. */
  #refusal: Selections | undefined
  #unrouted: Selections | undefined
  /** The service as it is, with failover. */
  #levelled: Selections | undefined
  readonly #overrides: TargetOverrides
  /** What overrides chose, by route and target. */
  readonly #diverted = new Map<string, Selections>()
  #used = false

  constructor(parts: ServiceRoutesParts, routing: RoutingSettings) {
    this.#parts = parts
    this.#held = new HeldServices(parts.hold, () => this.#ownerConfigured(), parts.onEndpoints)
    this.#clusters = new TargetClusters(parts.clock, parts.client)
    this.#failovers = new FailoverTargets(parts.clock, parts.client)
    this.#overrides = new TargetOverrides(parts.service, parts.onOverrideRefused)
    this.#routing = routing
    this.#table = this.#tableOf(routing)
  }

  /** The target for `head`; `undefined`: the service as it is. */
  select(head: RequestHead, streaming: boolean, from: CallContext | undefined): Selection | undefined {
    const route = this.#table.find(head)
    if (from?.overrides !== undefined) {
      const target = this.#overrides.of(from.overrides, this.#routing)
      if (target !== undefined && route?.answer === undefined) {
        return this.#divert(route, target).select(head.method, streaming)
      }
    }
    if (route === undefined) return this.#unmatched()?.select(head.method, streaming)
    const choice = this.#compiled.get(route) ?? this.#compile(route)
    return choice.of(head, from).select(head.method, streaming)
  }

  /** Calls whose head is not known yet: the route brings the bounds of time. */
  get unrouted(): Selections {
    const { settings } = this.#parts.called
    this.#unrouted ??= this.#plain({ ...settings, timeoutMs: Infinity, idleTimeoutMs: Infinity }, undefined)
    return this.#unrouted
  }

  /** Puts another document in force. What it no longer names is closed. */
  configure(routing: RoutingSettings): void {
    this.#routing = routing
    this.#table = this.#tableOf(routing)
    this.recompile()
    const named = new Map(routing.routes.map((route) => [route.name, route]))
    for (const [name, state] of this.#states) {
      const route = named.get(name)
      if (route !== undefined) state.configure(route, this.#parts.called.settings)
      else {
        this.#states.delete(name)
        state.close()
      }
    }
    for (const name of this.#choices.keys()) if (!named.has(name)) this.#choices.delete(name)
    this.#keepNamed()
  }

  /** Forgets the views and services that no route of the document names. */
  #keepNamed(): void {
    const { routes } = this.#routing
    this.#clusters.keep(new Set(routes.flatMap((route) => route.targets.map((to) => clusterKey(route, to)))))
    if (this.#used) this.#watchNamed()
  }

  /** The stack of the service has changed. */
  recompile(): void {
    this.#compiled.clear()
    this.#failovers.clear()
    this.#refusal = undefined
    this.#unrouted = undefined
    this.#levelled = undefined
    this.#diverted.clear()
  }

  /** Whether a service that is held has endpoints. */
  get leadsOn(): boolean {
    return this.#held.ready
  }

  /** Whether another service to which a route leads has endpoints. */
  get ready(): boolean {
    this.#begin()
    return this.#held.ready
  }

  /** The separate circuits of routes. */
  *circuits() {
    for (const { circuit } of this.#states.values()) if (circuit !== undefined) yield circuit.circuit
  }

  /** The separate state of routes, for metrics. */
  *readings(): Iterable<Pick<PeerReading, 'route' | 'circuit' | 'throttled' | 'retryBudget'>> {
    for (const [route, { circuit, throttle, balance }] of this.#states) {
      if (circuit === undefined && throttle === undefined && balance === undefined) continue
      yield {
        route,
        circuit: circuit?.state,
        throttled: throttle?.share,
        retryBudget: balance === undefined ? undefined : Math.floor(balance),
      }
    }
  }

  close(): void {
    this.recompile()
    this.#held.close()
    this.#clusters.keep(new Set())
    for (const state of this.#states.values()) state.close()
    this.#states.clear()
  }

  #ownerConfigured(): void {
    this.recompile()
    this.#clusters.refresh()
  }

  #tableOf({ routes }: RoutingSettings): RouteTable {
    const { caller, protocol, client, called } = this.#parts
    return new RouteTable(routes, caller, protocol, client.metadata?.namespace, called.service)
  }

  /** Other services are watched from the first use on: a service that is only a target has none. */
  #begin(): void {
    if (this.#used) return
    this.#used = true
    this.#watchNamed()
  }

  #watchNamed(): void {
    const named = servicesNamedBy(this.#routing)
    named.delete(this.#parts.called.service)
    this.#held.keep(named)
  }

  #compile(route: RouteSettings): TargetChoice {
    this.#begin()
    const { caller } = this.#parts
    const state = this.#stateOf(route)
    const missed = this.#held.missed
    const mirrors = route.mirrors.map((mirror) => {
      return compileMirror(route, mirror, this.#ownerOf(mirror.target.service), this.#parts)
    })
    const targets =
      route.targets.length === 0
        ? [this.#target(new Routed(route, undefined, caller, mirrors), route, this.#parts.called, state)]
        : route.targets.map((to) => {
            return this.#target(new Routed(route, to, caller, mirrors), route, this.#ownerOf(to.service), state)
          })
    let choice = this.#choices.get(route.name)
    if (choice === undefined) {
      choice = new TargetChoice(this.#parts.clock)
      this.#choices.set(route.name, choice)
    }
    choice.configure(route, targets)
    // A service that could not be watched may be watched by the next call.
    if (this.#held.missed === missed) this.#compiled.set(route, choice)
    return choice
  }

  /** An override replaces the target alone; without a route, all else is the service's. */
  #divert(route: RouteSettings | undefined, target: TargetSettings): Selections {
    const key = `${route?.name ?? ''} ${target.key}`
    let diverted = this.#diverted.get(key)
    if (diverted !== undefined) return diverted
    if (this.#diverted.size >= MOST_DIVERTED) {
      this.#diverted.clear()
      this.#keepNamed()
    }
    this.#begin()
    const { called, caller } = this.#parts
    const over = divertedRoute(route, target, called.settings)
    const missed = this.#held.missed
    diverted = this.#target(new Routed(over, target, caller), over, this.#ownerOf(target.service), this.#stateOf(over))
    if (this.#held.missed === missed) this.#diverted.set(key, diverted)
    return diverted
  }

  #target(routed: Routed, route: RouteSettings, owner: EndpointOwner | undefined, state: RouteState): Selections {
    const { called } = this.#parts
    const { policy, own } = route
    const guard = owner ?? called
    const parts = {
      settings: { ...policy, ejection: own.has('ejection') ? policy.ejection : guard.settings.ejection },
      state: state.over(guard, called, route),
    }
    const levels = owner === undefined || routed.target === undefined ? [] : this.#levelsOf(route, owner)
    if (owner === undefined || levels.length === 0) {
      const { cluster: inner, learner } = this.#clusterOf(route, routed.target, owner)
      const cluster = withSessions(inner, route, this.#parts.clock)
      return new Selections(this.#parts, this.#stack({ ...parts, cluster, balancer: learner }), routed)
    }
    const balancing = balancingOf(route, owner.settings)
    const learner = owner.balancer(balancing).policy
    const failover = this.#failover({
      ...{ levels, owner, balancing },
      key: `${clusterKey(route, routed.target)}${levels === this.#routing.failover ? '' : ` ${route.name}`}`,
      subset: () => membersOf(routed.target, owner),
      ejection: own.has('ejection') ? policy.ejection : undefined,
      guards: guardsOf({ ...parts, balancer: learner }),
    })
    const within = { ...failover, cluster: withSessions(failover.cluster, route, this.#parts.clock) }
    return new Selections(this.#parts, this.#stack({ ...parts, ...within, balancer: learner }), routed)
  }

  /** What the service's document says of itself holds for other services as far as it fits them. */
  #levelsOf({ failover }: RouteSettings, owner: EndpointOwner): readonly FailoverLevel[] {
    if (failover === undefined) return NO_LEVELS
    const foreign = owner !== this.#parts.called && failover === this.#routing.failover
    return foreign ? failover.filter(({ kind }) => kind !== 'service') : failover
  }

  #failover(wish: Pick<FailoverWish, 'key' | 'levels' | 'owner' | 'subset' | 'balancing' | 'ejection' | 'guards'>) {
    return this.#failovers.of({
      ...wish,
      called: this.#parts.called,
      ownerOf: (service) => this.#ownerOf(service),
      subsetOf,
    })
  }

  /** Where calls go that no route matches; `undefined`: to the service as it is. */
  #unmatched(): Selections | undefined {
    const { failover, unmatched } = this.#routing
    if (unmatched === 'refuse') return this.#refused()
    if (failover === undefined || this.#levelled !== undefined) return this.#levelled
    this.#begin()
    const { called } = this.#parts
    const { settings, state, learner } = called
    const parts = { settings, state, balancer: learner }
    const missed = this.#held.missed
    const levels = this.#failover({
      ...{ key: '', levels: failover, owner: called, balancing: settings },
      subset: () => undefined,
      ejection: undefined,
      guards: guardsOf(parts),
    })
    const made = new Selections(this.#parts, this.#stack({ ...parts, ...levels }), undefined)
    if (this.#held.missed === missed) this.#levelled = made
    return made
  }

  #clusterOf(route: RouteSettings, to: TargetSettings | undefined, owner: EndpointOwner | undefined): TargetCluster {
    if (owner === undefined) return { cluster: nowhere(to!.service, this.#parts.clock), learner: undefined }
    const { own, policy } = route
    if (to?.subset === undefined && !hasOwnPicker(route)) return { cluster: owner.cluster, learner: owner.learner }
    return this.#clusters.of(clusterKey(route, to), {
      owner,
      members: () => membersOf(to, owner),
      balancing: balancingOf(route, owner.settings),
      ejection: own.has('ejection') ? policy.ejection : undefined,
    })
  }

  #refused(): Selections {
    const { called, caller } = this.#parts
    this.#refusal ??= this.#plain(called.settings, new Routed(undefined, undefined, caller))
    return this.#refusal
  }

  /** The endpoints, the state and the balancer of the service. */
  #plain(settings: ServiceSettings, routed: Routed | undefined): Selections {
    const { state, cluster, learner } = this.#parts.called
    return new Selections(this.#parts, this.#stack({ settings, state, cluster, balancer: learner }), routed)
  }

  #stack(parts: Omit<Parameters<typeof compileStack>[0], 'telemetry' | 'clock'>): Stack {
    const { telemetry, clock } = this.#parts
    return compileStack({ ...parts, telemetry, clock })
  }

  #ownerOf(service: string): EndpointOwner | undefined {
    const { called } = this.#parts
    return service === called.service ? called : this.#held.owner(service)
  }

  #stateOf(route: RouteSettings): RouteState {
    let state = this.#states.get(route.name)
    if (state === undefined) {
      const { called, clock, listeners } = this.#parts
      state = new RouteState(`${called.service}/${route.name}`, clock, listeners(route.name))
      state.configure(route, called.settings)
      this.#states.set(route.name, state)
    }
    return state
  }
}
