/** Everything about traffic that the API answers from: what is kept here, and what others know. */
import { reasonOf } from '../../core/errors.ts'
import type { Fleet } from '../fleet/fleet.ts'
import type { Logger } from '../log.ts'
import type { RegistryState } from '../state.ts'
import { type Asked, TrafficQuestions, type WindowQuestion } from './ask.ts'
import { GRAPH_PARTS, type Graph, type GraphState, graphOf } from './graph.ts'
import { InstanceEvents } from './instance-events.ts'
import { type ServicesAnswer, servicesOf } from './services.ts'
import { SLOT_MS } from './slots.ts'
import { GraphStreams } from './streams.ts'
import { Traffic, type TrafficHost } from './traffic.ts'

/** How long an answer is one for all who ask the same. */
const SHARED_MS = 1_000

interface SharedGraph {
  readonly madeAt: number
  readonly isLive: boolean
  readonly changes: number
  readonly graph: Promise<Graph>
}

export interface MeshTrafficParts extends TrafficHost {
  readonly state: RegistryState
  readonly leases: GraphState['leases']
  readonly log: Logger
  readonly id: string
  readonly fleet: Pick<Fleet, 'peers' | 'askPeers'>
}

/** A window as operators ask for it. */
export interface AskedWindow {
  readonly windowMs: number
  /** Wall clock, ms: its end. `undefined`: the latest that is complete. */
  readonly at: number | undefined
  /** This registry alone. */
  readonly isLocal: boolean
}

export class MeshTraffic {
  readonly traffic: Traffic
  readonly instanceEvents: InstanceEvents
  readonly streams: GraphStreams
  readonly #parts: MeshTrafficParts
  readonly #questions: TrafficQuestions
  readonly #stop: () => void
  /** By the sums that each is of. */
  readonly #graphs = new WeakMap<Asked, SharedGraph>()
  /** Of the inventory. */
  #changes = 0

  constructor(parts: MeshTrafficParts) {
    const { fleet, id, state, clock, log } = parts
    this.#parts = parts
    this.traffic = new Traffic({
      ...parts,
      changed: () => this.streams.changed(),
      ticked: () => this.#questions.look(),
    })
    this.#questions = new TrafficQuestions(this.traffic, {
      id,
      others: () => fleet.peers.map((one) => one.id),
      ask: (path) => fleet.askPeers(path),
    })
    this.instanceEvents = new InstanceEvents(state, () => clock.wallNow())
    this.streams = new GraphStreams(
      clock,
      (windowMs) => this.graph({ windowMs, at: undefined, isLocal: false }),
      (error) => log.error({ reason: reasonOf(error) }, 'graph not sent'),
    )
    this.#stop = state.onChange(() => {
      this.#changes += 1
      this.streams.changed()
    })
  }

  /** This registry's id. */
  get id(): string {
    return this.#parts.id
  }

  answer: TrafficQuestions['answer'] = (question) => this.#questions.answer(question)

  /** The end of an asked window, on the clock of the rings: a slot that is complete. */
  async endOf({ at }: AskedWindow): Promise<{ readonly end: number; readonly isLive: boolean }> {
    const latest = await this.#questions.latest()
    const wanted = at === undefined ? latest : at - this.traffic.wallOf(0)
    const end = Math.min(latest, Math.round(wanted / SLOT_MS) * SLOT_MS)
    return { end, isLive: end >= latest - SLOT_MS }
  }

  async ask(question: WindowQuestion, end: number, isLocal: boolean): Promise<Asked> {
    return await this.#questions.ask(question, end, isLocal)
  }

  async graph(window: AskedWindow): Promise<Graph> {
    return (await this.#askGraph(window)).graph
  }

  async services(window: AskedWindow): Promise<ServicesAnswer> {
    const { asked, graph } = await this.#askGraph(window)
    return servicesOf(asked, graph, window.windowMs)
  }

  async #askGraph(window: AskedWindow): Promise<{ readonly asked: Asked; readonly graph: Graph }> {
    const { windowMs, isLocal } = window
    const { end, isLive } = await this.endOf(window)
    const asked = await this.ask({ windowMs, stepMs: windowMs, by: GRAPH_PARTS }, end, isLocal)
    return { asked, graph: await this.#graphOf(asked, windowMs, isLive) }
  }

  #graphOf(asked: Asked, windowMs: number, isLive: boolean): Promise<Graph> {
    const now = this.traffic.now()
    const known = this.#graphs.get(asked)
    const isSame = known?.isLive === isLive && known.changes === this.#changes
    if (isSame && now - known.madeAt < SHARED_MS) return known.graph
    const { state, leases } = this.#parts
    const shown = { at: this.traffic.wallOf(asked.end), windowMs, isLive }
    const graph = graphOf(asked, shown, { services: state.services, leases })
    this.#graphs.set(asked, { madeAt: now, isLive, changes: this.#changes, graph })
    // One that failed is not remembered.
    graph.catch(() => this.#graphs.delete(asked))
    return graph
  }

  close(): void {
    this.#stop()
    this.streams.close()
    this.instanceEvents.close()
    this.traffic.close()
  }
}
