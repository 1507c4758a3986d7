/** An intermediate that was made elsewhere, whose key never enters the store (`--ca-dir`). */
import type { Authority } from '../../identity/certificate.ts'
import type { AuthorityRecord } from '../records.ts'
import type { Made } from './authority-records.ts'

export interface ExternalIssuer {
  readonly trustDomain: string
  /** Without their keys. */
  readonly root: Made<AuthorityRecord>
  readonly intermediate: Made<AuthorityRecord>
  /** Signs. */
  readonly authority: Authority
}
