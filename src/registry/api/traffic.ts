/** The API of the service graph: what the processes of the mesh reported of their calls. */
import { OUTSIDE } from '../../telemetry/traffic/traffic-message.ts'
import { readAnswers } from '../fleet/answer-checks.ts'
import { type MeshEvent, ofAudit, ofInstance, ofMark } from '../traffic/events.ts'
import { instancesOf } from '../traffic/instances.ts'
import { marksIn, processesIn } from '../traffic/peer-answers.ts'
import { ROUTE_PARTS, routesOf } from '../traffic/routes.ts'
import { seriesOf } from '../traffic/series.ts'
import { MINUTE_MS, SLOT_MS } from '../traffic/slots.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { ApiError, invalid } from './error.ts'
import { sendJson } from './request.ts'
import { localMarks, localProcesses, trafficOf } from './traffic-local.ts'
import {
  EVENTS_QUERY,
  GRAPH_QUERY,
  INSTANCES_QUERY,
  readQuery,
  SERIES_QUERY,
  SERVICE_QUERY,
  STREAM_QUERY,
} from './traffic-query.ts'

const HOUR_MS = 3_600_000
const MOST_POINTS = 720
const EVENTS = 200

export async function sendGraph(context: ApiContext, { response, query }: ApiRequest): Promise<void> {
  const { window, at, local } = readQuery(GRAPH_QUERY, query)
  sendJson(response, 200, await trafficOf(context).graph({ windowMs: window, at, isLocal: local === '1' }))
}

export async function sendServices(context: ApiContext, { response, query }: ApiRequest): Promise<void> {
  const { window, at, local } = readQuery(GRAPH_QUERY, query)
  sendJson(response, 200, await trafficOf(context).services({ windowMs: window, at, isLocal: local === '1' }))
}

export function streamGraph(context: ApiContext, { response, query, caller }: ApiRequest): void {
  const { window } = readQuery(STREAM_QUERY, query)
  trafficOf(context).streams.open(response, caller.name, window)
}

export async function sendSeries(context: ApiContext, { response, query }: ApiRequest): Promise<void> {
  const { from, to, service, window: windowMs, step, at, local } = readQuery(SERIES_QUERY, query)
  const traffic = trafficOf(context)
  if ((service === undefined) === (from === undefined && to === undefined)) {
    throw invalid('query', [
      { path: ['service'], message: "expected 'service', or 'from' and 'to', or one of the two" },
    ])
  }
  const isLocal = local === '1'
  const { end } = await traffic.endOf({ windowMs, at, isLocal })
  const isOld = traffic.traffic.rings.isCoarse(end - windowMs)
  const unit = isOld ? MINUTE_MS : SLOT_MS
  const stepMs = roundUp(Math.max(step ?? unit, windowMs / MOST_POINTS), unit)
  // Minutes begin with the minute.
  const unitOfStart = stepMs >= MINUTE_MS ? MINUTE_MS : SLOT_MS
  const aligned = end - Math.floor((end - windowMs) / unitOfStart) * unitOfStart
  const asked = await traffic.ask(
    { windowMs: aligned, stepMs, by: [], service, from: callerOf(context, from), to },
    end,
    isLocal,
  )
  const window = { at: traffic.traffic.wallOf(end), windowMs: aligned, stepMs }
  const reporters = from === undefined ? undefined : [callerOf(context, from) === '' && to !== undefined ? to : from]
  sendJson(response, 200, seriesOf(asked, { ...window, reporters }))
}

export async function sendRoutes(context: ApiContext, { response, query }: ApiRequest): Promise<void> {
  const { service, window: windowMs, at, local } = readQuery(SERVICE_QUERY, query)
  const traffic = trafficOf(context)
  const isLocal = local === '1'
  const { end } = await traffic.endOf({ windowMs, at, isLocal })
  // Calls that a route led to another service are among those of its callers.
  const asked = await traffic.ask({ windowMs, stepMs: windowMs, by: ROUTE_PARTS, called: service }, end, isLocal)
  const window = { at: traffic.traffic.wallOf(end), windowMs }
  const { state, hub } = context
  sendJson(
    response,
    200,
    routesOf(service, asked, window, state, ({ name }) => hub.acknowledgedOf(name)),
  )
}

export async function sendInstances(context: ApiContext, { response, query }: ApiRequest): Promise<void> {
  const { service, local } = readQuery(INSTANCES_QUERY, query)
  const { state, clock, fleet } = context
  const { id } = trafficOf(context)
  await trafficOf(context).traffic.work()
  const entry = state.service(service)
  const path = `/v1/traffic/local?kind=processes&service=${service}`
  const others = readAnswers(local === '1' ? [] : await fleet.askPeers(path), processesIn)
  const reports = [...localProcesses(context, service), ...others.answered.flatMap(({ value }) => value)]
  if (entry === undefined && reports.length === 0) {
    throw new ApiError('not-found', `there is no service '${service}'`)
  }
  const instances = entry === undefined ? [] : instancesOf(entry, reports)
  const shown = new Set(instances.flatMap(({ process }) => (process === null ? [] : [process])))
  sendJson(response, 200, {
    service,
    at: clock.wallNow(),
    frozen: context.registrar.leases.isFrozen(service),
    registries: [id, ...others.answered.map(({ registry }) => registry)],
    unreachable: others.unreachable,
    instances,
    // Those that only call, or whose instances are gone.
    processes: reports.filter((report) => !shown.has(report)),
  })
}

export async function sendEvents(context: ApiContext, { response, query }: ApiRequest): Promise<void> {
  const { until, kind, service, limit = EVENTS, local, ...given } = readQuery(EVENTS_QUERY, query)
  const { state, clock, fleet } = context
  const { instanceEvents, id, traffic } = trafficOf(context)
  await traffic.work()
  const wallNow = clock.wallNow()
  const since = given.since ?? wallNow - HOUR_MS
  const agoMs = Math.max(0, Math.round(wallNow - since))
  const path = `/v1/traffic/local?kind=marks&ago=${agoMs}`
  const others = readAnswers(local === '1' ? [] : await fleet.askPeers(path), marksIn)
  const marks = [...localMarks(context, agoMs), ...others.answered.flatMap(({ value }) => value)]
  const events: MeshEvent[] = [
    ...marks.map(({ agoMs, ...mark }) => ofMark(mark, wallNow - agoMs)),
    ...instanceEvents.since(since).map(ofInstance),
    ...state.audit.filter(({ at }) => at >= since).map(ofAudit),
  ]
  const found = events
    // Of what happened in the same ms, the last first, too.
    .reverse()
    .filter((event) => event.at <= (until ?? Number.POSITIVE_INFINITY))
    .filter((event) => kind === undefined || event.kind === kind)
    .filter((event) => service === undefined || event.service === service || event.from === service)
    .sort((a, b) => b.at - a.at)
  sendJson(response, 200, {
    at: wallNow,
    since,
    registries: [id, ...others.answered.map(({ registry }) => registry)],
    unreachable: others.unreachable,
    events: found.slice(0, limit),
    left: Math.max(0, found.length - limit),
  })
}

function callerOf({ state }: ApiContext, from: string | undefined): string | undefined {
  return from === OUTSIDE && state.service(OUTSIDE) === undefined ? '' : from
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}
