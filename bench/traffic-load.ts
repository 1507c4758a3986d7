/** Made-up traffic of a mesh: messages as processes send them, by a seeded random source. */

import { LatencyDigest } from '../src/telemetry/traffic/latency-digest.ts'
import type { TrafficMessage, TrafficSeries } from '../src/telemetry/traffic/traffic-message.ts'

/** Of each process, to all services that it calls. */
const CALLS_PER_SECOND = 1_000
/** Digests that the messages take in turn: making one costs more than what is measured. */
const DIGESTS = 500
const METHODS = ['GET', 'POST'] as const

export interface Load {
  readonly services: number
  readonly processes: number
  /** Services that each service calls. */
  readonly edges: number
}

export class TrafficLoad {
  readonly #load: Load
  readonly #digests: readonly { readonly calls: number; readonly ms: string }[]
  #seed = 7

  constructor(load: Load) {
    this.#load = load
    const perSeries = (CALLS_PER_SECOND * 5) / load.edges / METHODS.length
    this.#digests = Array.from({ length: DIGESTS }, () => this.#digest(Math.round(perSeries * (0.5 + this.#random()))))
  }

  serviceOf(process: number): string {
    return `service-${process % this.#load.services}`
  }

  message(process: number, sequence: number): TrafficMessage {
    const { services, edges } = this.#load
    const caller = process % services
    const series: TrafficSeries[] = []
    for (let edge = 1; edge <= edges; edge++) {
      const to = `service-${(caller + edge * 7) % services}`
      for (const [i, method] of METHODS.entries()) {
        const { calls, ms } = this.#digests[Math.floor(this.#random() * DIGESTS)]!
        const ends = {
          to,
          protocol: 'http',
          method,
          route: `items-${i}`,
          version: 'v1',
          zone: 'eu-1',
          tls: true,
        } as const
        const codes = this.#random() < 0.1 && { codes: { timeout: 1 + Math.floor(this.#random() * 3) } }
        series.push({ ...ends, calls, ...codes, ...(this.#random() < 0.1 && { retries: 2 }), ms })
      }
    }
    return { type: 'traffic', sequence, forMs: 5_000, series }
  }

  /** Log-normal, of a median between 1 and 100 ms. */
  #digest(calls: number): { calls: number; ms: string } {
    const digest = new LatencyDigest()
    const median = 10 ** (this.#random() * 2)
    for (let i = 0; i < calls; i++) digest.record(median * Math.exp(0.5 * this.#normal()))
    return { calls, ms: digest.encode() }
  }

  #normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.#random())) * Math.cos(2 * Math.PI * this.#random())
  }

  #random(): number {
    this.#seed = (this.#seed * 1_103_515_245 + 12_345) % 2 ** 31
    return this.#seed / 2 ** 31
  }
}
