/** The parts that handlers of the API work with, and the arguments of one request. */
import type { Clock } from '../../core/clock.ts'
import type { Caller } from '../access/access.ts'
import type { Audit } from '../access/audit.ts'
import type { Denials } from '../access/denials.ts'
import type { Operators } from '../access/operators.ts'
import type { RateLimit } from '../access/rate-limit.ts'
import type { JoinTokens } from '../access/tokens.ts'
import type { Exports } from '../backup/exports.ts'
import type { RegistryAuthority } from '../ca/authority.ts'
import type { Rotator } from '../ca/rotator.ts'
import type { TokenSigner } from '../ca/token-signer.ts'
import type { Fleet } from '../fleet/fleet.ts'
import type { Policies } from '../policies.ts'
import type { Registrar } from '../registrar.ts'
import type { Sessions } from '../sessions.ts'
import type { RegistryState } from '../state.ts'
import type { MeshTaps } from '../tap/mesh-taps.ts'
import type { MeshTraffic } from '../traffic/mesh-traffic.ts'
import type { WatchHub } from '../watch/hub.ts'
import type { ScriptWatches } from '../watch/script-watch.ts'
import type { IncomingRequest, OutgoingResponse } from './request.ts'

export interface ApiContext {
  readonly state: RegistryState
  readonly authority: RegistryAuthority
  readonly rotator: Rotator
  readonly tokens: JoinTokens
  readonly operators: Operators
  readonly denials: Denials
  readonly signer: TokenSigner
  readonly policies: Policies
  readonly audit: Audit
  readonly hub: WatchHub
  readonly registrar: Registrar
  readonly sessions: Sessions
  readonly watches: ScriptWatches
  readonly exports: Exports
  readonly joins: RateLimit
  readonly clock: Clock
  readonly dev: boolean
  readonly fleet: Fleet
  /** `undefined`: this registry keeps none. */
  readonly traffic: MeshTraffic | undefined
  readonly taps: MeshTaps
}

export interface ApiRequest {
  readonly request: IncomingRequest
  readonly response: OutgoingResponse
  readonly caller: Caller
  readonly query: URLSearchParams
  /** What the path's placeholders stand for. */
  readonly parameters: readonly string[]
}
