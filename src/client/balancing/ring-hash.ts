/**
 * Ring hash (Karger 1997; gRFC A42) over a circle of places, each owned by one endpoint. Its table
 * is smaller than Maglev's and faster to build.
 */
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import { HashBalancer } from './hash-picker.ts'
import { PlaceTable } from './place-table.ts'

/** 16,384 places. Ketama's 160 points per endpoint are as many for a hundred of them. */
const BITS = 14

/** One for each service. */
export function ringHash(clock: Clock, health: ClusterHealth | undefined): HashBalancer {
  return new HashBalancer('ring-hash', (endpoints) => new Ring(endpoints), clock, health)
}

export class Ring extends PlaceTable {
  constructor(endpoints: readonly Endpoint[]) {
    super(endpoints, BITS)
  }
}
