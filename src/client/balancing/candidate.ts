/**
 * What a pick computes of one endpoint. V8 boxes each fraction that a function returns unless it
 * inlines the function, and none that the function writes to a field.
 */
export class Candidate {
  /** Its weight over the mean weight. */
  share = 1
  latencyMs = 0
  /** Requests of any caller. */
  inFlight = 0
  /** How good it would be for one more attempt; smaller is better. */
  load = 0
}
