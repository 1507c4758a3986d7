/**
 * Maglev (Eisenbud et al. 2016) over a large table, so shares follow the weights closely. Overflow
 * of an owner advances by a step of the key, and spreads evenly.
 */
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import { HashBalancer } from './hash-picker.ts'
import { PlaceTable } from './place-table.ts'

/** 65,536 places, as many as Maglev's smallest table. */
const BITS = 16

/** One for each service. */
export function maglev(clock: Clock, health: ClusterHealth | undefined): HashBalancer {
  return new HashBalancer('maglev', (endpoints) => new MaglevTable(endpoints), clock, health)
}

export class MaglevTable extends PlaceTable {
  constructor(endpoints: readonly Endpoint[]) {
    super(endpoints, BITS)
  }

  protected override stride(hash: number): number {
    return (Math.imul(hash, 0x9e3779b1) | 1) >>> 0
  }
}
