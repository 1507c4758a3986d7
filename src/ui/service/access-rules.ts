/** Which rules decide who may call a service: those of its document, or of the mesh. */
import type { Intention } from '../../discovery/intention.ts'
import type { PolicyInfo } from '../../registry/policies.ts'
import { MESH } from '../document/mesh-document.ts'

export interface AccessRules {
  /** The document whose list decides; `undefined`: none has a list. */
  readonly document: PolicyInfo | undefined
  readonly rules: readonly Intention[]
  /** For callers that no rule names. */
  readonly others: 'allow' | 'deny'
}

/** A list of the service replaces that of the mesh; with a list, all others are denied. */
export function rulesOf(service: string, policies: readonly PolicyInfo[], dev: boolean): AccessRules {
  const find = (name: string): PolicyInfo | undefined => policies.find((one) => one.service === name)
  const document = [find(service), find(MESH)].find((one) => Array.isArray(one?.document.allow))
  if (document !== undefined) return { document, rules: document.document.allow as Intention[], others: 'deny' }
  const others = find(MESH)?.document.defaultIntention ?? (dev ? 'allow' : 'deny')
  return { document, rules: [], others: others === 'allow' ? 'allow' : 'deny' }
}
