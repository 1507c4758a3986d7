/** Lays out the state of the authority for a terminal. */
import type { AuthorityStatus, StageInfo } from '../registry/ca/authority-status.ts'
import { printable, table } from './terminal.ts'
import { instant } from './times.ts'

const STAGES: Readonly<Record<StageInfo['stage'], string>> = {
  steady: 'no rotation is under way',
  publish: 'the next one is published and signs nothing yet',
  use: 'the next one signs; the former one is trusted',
}

const WAITS: Readonly<Record<NonNullable<StageInfo['waitsFor']>, string>> = {
  nothing: '',
  keys: 'waits for a registry without its key',
  'least-time': 'waits until verifiers outside of the mesh have had time to ask for it',
  acknowledgements: 'waits for processes that are behind',
  'ends-of-life': 'waits until everything that the former one signed has ended',
}

export function statusLines(status: AuthorityStatus): string[] {
  const { trustDomain, sequence, pin, certificates, tokens, registries } = status
  return [
    `trust domain ${printable(trustDomain)}, bundle ${sequence}, new tokens pin ${printable(pin)}`,
    '',
    `certificates: ${stageLine(certificates)}`,
    ...table(
      ['ID', 'ROLE', 'PART', 'ENDS', 'KEY', 'BELOW'],
      certificates.authorities.map(({ id, role, part, notAfter, key, root }) => [
        id,
        role,
        part,
        instant(notAfter),
        key,
        root ?? '-',
      ]),
    ),
    '',
    `tokens: ${stageLine(tokens)}`,
    ...table(
      ['KEY ID', 'PART'],
      tokens.keys.map(({ kid, part }) => [kid, part]),
    ),
    '',
    ...table(
      ['REGISTRY', 'BUNDLE', 'PROCESSES', 'BEHIND', 'WHO'],
      registries.map(({ id, sequence: has, processes, behind, names, settled, lacks }) => [
        id,
        has,
        processes,
        behind,
        [
          ...names,
          ...(behind > names.length ? [`and ${behind - names.length} more`] : []),
          ...(settled ? [] : ['(began a moment ago)']),
          ...lacks.map((one) => `(no key of ${one})`),
        ].join(', ') || '-',
      ]),
    ),
  ]
}

function stageLine({ stage, waitedMs, waitsFor }: StageInfo): string {
  if (stage === 'steady') return STAGES.steady
  const waits = waitsFor === undefined ? 'goes on now' : WAITS[waitsFor]
  return `${STAGES[stage]}; for ${Math.round(waitedMs / 1_000)} s; ${waits}`
}
