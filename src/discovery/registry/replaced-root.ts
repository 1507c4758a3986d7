/** The error of a process that knows another root than the registry has. */
import { MeshError } from '../../core/errors.ts'

export interface ReplacedRoot {
  /** Its address. */
  readonly registry: string
  /** Fingerprint of the root that it presents. */
  readonly shown: string
  /** Fingerprints of those that this process knows. */
  readonly known: readonly string[]
  readonly knownFrom: 'identity' | 'token'
  readonly service: string
}

/** `identity-rejected`, with both fingerprints and what to do. */
export function rootReplaced({ registry, shown, known, knownFrom, service }: ReplacedRoot): MeshError {
  const ours = `${knownFrom === 'token' ? 'the join token pins' : 'we trust'} ${known.join(', ') || 'none'}`
  // The command comes early, because events cut long texts.
  const message = `The registry at ${registry} has root ${shown}, ${ours}. Join anew with a token of '${command(service)}' (${PLACES}) if the root was replaced; otherwise another registry answers there.`
  return new MeshError(message, { code: 'identity-rejected', service, endpoint: registry, sent: false })
}

/** How to get a join token, and where to put it. */
export function newToken(service: string): string {
  return `make one by '${command(service)}' and give it as ${PLACES}`
}

const PLACES = 'joinToken, joinTokenFile, INMESH_JOIN_TOKEN or INMESH_JOIN_TOKEN_FILE'

function command(service: string): string {
  return `inmesh token create --service ${service}`
}
