/** The authority: who signs, how far a rotation is, and which processes it waits for. */
import type { AuthorityStatus, StageInfo } from '../../registry/ca/authority-status.ts'
import { counted, dateTime, span, until } from '../format.ts'
import { useAnswer } from '../use-answer.ts'

const EVERY_MS = 5_000

/** What each stage does, and what ends it. */
const STAGES = [
  ['steady', 'one key signs'],
  ['publish', 'the next key is trusted by all'],
  ['use', 'the next key signs; the former one ends'],
] as const

const AWAITED: Readonly<Record<string, string>> = {
  keys: 'a registry does not have the key yet',
  'least-time': 'the least time of this stage',
  acknowledgements: 'processes that do not trust the next key yet',
  'ends-of-life': 'the ends of what the former key signed',
}

export function Authority() {
  const { answer, trouble } = useAnswer<AuthorityStatus>('/v1/ca', EVERY_MS)
  if (answer === undefined) return <p class="hint">{trouble ?? '…'}</p>
  const { certificates, tokens, registries } = answer
  return (
    <section>
      <h2>Rotation</h2>
      <Stages title="Certificates" info={certificates} />
      <Stages title="Tokens" info={tokens} />
      {registries.map(({ id, processes, behind, names, lacks }) => (
        <p key={id}>
          <label>
            {id}: {processes - behind} of {counted(processes, 'process', 'processes')}{' '}
            {processes === 1 ? 'trusts' : 'trust'} what is published{' '}
            <progress max={Math.max(1, processes)} value={processes === 0 ? 1 : processes - behind} />
          </label>
          {names.length > 0 && <span class="hint"> waits for {names.join(', ')}</span>}
          {lacks.length > 0 && <span class="badge warn">lacks the key of {lacks.join(', ')}</span>}
        </p>
      ))}
      <Trusted {...{ certificates }} />
    </section>
  )
}

function Stages({ title, info: { stage, since, waitsFor } }: { title: string; info: StageInfo }) {
  const waits = waitsFor === undefined ? undefined : AWAITED[waitsFor]
  return (
    <div class="stages">
      <strong>{title}</strong>
      <ol aria-label={`Stages of ${title.toLowerCase()}`}>
        {STAGES.map(([name, meaning]) => (
          <li key={name} aria-current={name === stage ? 'step' : undefined} title={meaning}>
            {name}
          </li>
        ))}
      </ol>
      <span class="hint">
        {STAGES.find(([name]) => name === stage)?.[1]}
        {since > 0 && `, for ${span(Date.now() - since)}`}
        {waits !== undefined && `; waits for ${waits}`}
      </span>
    </div>
  )
}

function Trusted({ certificates }: Pick<AuthorityStatus, 'certificates'>) {
  return (
    <div class="table">
      <table>
        <caption>Trusted authorities</caption>
        <thead>
          <tr>
            {['Authority', 'Role', 'Part', 'Key', 'Ends'].map((heading) => (
              <th key={heading} scope="col">
                {heading}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {certificates.authorities.map(({ id, role, part, key, notAfter }) => (
            <tr key={id}>
              <th scope="row">{id}</th>
              <td>{role}</td>
              <td>{part}</td>
              <td>{key}</td>
              <td title={dateTime(notAfter)}>{until(notAfter, Date.now())}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
