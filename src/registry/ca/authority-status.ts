/** The state of the authority for operators: who signs, what is trusted, and who is behind. */
import { X509Certificate } from 'node:crypto'
import { rootFingerprint } from '../../identity/join-token.ts'
import type { RegistryAuthority } from './authority.ts'
import { authorityOf, isRoot } from './authority-records.ts'
import type { Rotator } from './rotator.ts'
import type { Awaited } from './succession.ts'
import { type Stage, type Succession, whyNot } from './succession.ts'
import type { TokenSigner } from './token-signer.ts'
import { trustedAuthorities, trustedRoots } from './trusted.ts'

type Part = 'active' | 'next' | 'former'

export interface AuthorityInfo {
  readonly id: string
  readonly role: 'root' | 'intermediate'
  readonly part: Part
  /** Of an intermediate: the id of its root. */
  readonly root?: string
  /** Of a root: what tokens pin. */
  readonly pin?: string
  readonly notAfter: number
  /** `elsewhere`: offline, or in a directory. */
  readonly key: 'store' | 'elsewhere'
}

export interface StageInfo {
  readonly stage: Stage
  readonly since: number
  readonly waitedMs: number
  /** What the next step waits for; absent: it is due. */
  readonly waitsFor?: Awaited
}

export interface RegistryInfo {
  readonly id: string
  readonly sequence: number
  readonly least: number
  readonly processes: number
  readonly behind: number
  readonly names: readonly string[]
  readonly settled: boolean
  /** The authorities that it has no key of, of those that sign now or next. */
  readonly lacks: readonly string[]
}

export interface AuthorityStatus {
  readonly trustDomain: string
  readonly sequence: number
  /** Of the root in use: new tokens have it. */
  readonly pin: string
  readonly certificates: StageInfo & { readonly authorities: readonly AuthorityInfo[] }
  readonly tokens: StageInfo & { readonly keys: readonly { readonly kid: string; readonly part: Part }[] }
  readonly registries: readonly RegistryInfo[]
}

export function statusOf(authority: RegistryAuthority, rotator: Rotator, signer: TokenSigner): AuthorityStatus {
  const { trust, rotation } = authority.store
  const { trustDomain, sequence, certificates, tokens } = rotation
  const issuers = trustedAuthorities(trust, rotation)
  const partOf = (id: string): Part => partIn(certificates, id)
  const roots = trustedRoots(trust, rotation).map(({ id, record }): AuthorityInfo => {
    const used = issuers.find((one) => (one.record.root ?? one.id) === id)
    return {
      id,
      role: 'root',
      part: partOf(used?.id ?? id),
      pin: rootFingerprint(record.certificate),
      notAfter: endOf(record.certificate),
      key: record.privateKey === undefined ? 'elsewhere' : 'store',
    }
  })
  const intermediates = issuers
    .filter(({ record }) => !isRoot(record))
    .map(
      ({ id, record }): AuthorityInfo => ({
        id,
        role: 'intermediate',
        part: partOf(id),
        root: record.root!,
        notAfter: record.privateKey === undefined ? endOf(record.certificate) : authorityOf(record).notAfter,
        key: record.privateKey === undefined ? 'elsewhere' : 'store',
      }),
    )
  const signing = [certificates.active, certificates.next].filter((id) => id !== undefined)
  const keys = signer.jwks.map(({ kid }, i) => ({
    kid,
    part: i === 0 ? ('active' as const) : tokens.stage === 'publish' ? ('next' as const) : ('former' as const),
  }))
  return {
    trustDomain,
    sequence,
    pin: authority.fingerprint,
    certificates: { ...stageOf('certificates', certificates, rotator), authorities: [...roots, ...intermediates] },
    tokens: { ...stageOf('tokens', tokens, rotator), keys },
    registries: [...trust.progress].map(([id, { sequence: has, least, processes, behind, names, settled, holds }]) => ({
      ...{ id, sequence: has, least, processes, behind, names, settled },
      lacks: signing.filter((one) => !holds.includes(one)),
    })),
  }
}

function stageOf(track: 'certificates' | 'tokens', succession: Succession, rotator: Rotator): StageInfo {
  const waitedMs = Math.round(rotator.waitedMs(track))
  const waitsFor = whyNot(succession, rotator.facts.of(track, succession, waitedMs))
  const { stage, since } = succession
  return { stage, since, waitedMs, ...(waitsFor !== undefined && { waitsFor }) }
}

function partIn({ next, former }: Succession, id: string): Part {
  return id === next ? 'next' : id === former ? 'former' : 'active'
}

function endOf(certificate: string): number {
  return Date.parse(new X509Certificate(certificate).validTo)
}
