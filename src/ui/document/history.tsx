/** A document with its history: what each version changed, and the way back. */
import { useState } from 'preact/hooks'
import type { PolicyRecord } from '../../registry/records.ts'
import { change, type Session } from '../api.ts'
import { dateTime } from '../format.ts'
import { useAnswer } from '../use-answer.ts'
import { Changes } from './changes.tsx'

const EVERY_MS = 10_000

interface HistoryProps {
  readonly title: string
  /** Where the registry has it: `/v1/policies/inventory`. */
  readonly path: string
  /** The version; `null`: none is in force, or it is not known. */
  readonly inForce: number | null
  readonly session: Session
  /** After a rollback. */
  readonly onChange?: () => void
}

export function History({ title, path, inForce, session, onChange }: HistoryProps) {
  const [isWanted, setWanted] = useState(false)
  const { answer, trouble, askAgain } = useAnswer<{ versions: readonly PolicyRecord[] }>(
    inForce === null && !isWanted ? '' : `${path}/history`,
    EVERY_MS,
  )
  const [chosen, setChosen] = useState<number>()
  const [said, setSaid] = useState<string>()
  const versions = answer?.versions ?? []
  const current = versions[0]
  const shown = versions.find(({ version }) => version === chosen) ?? current
  const rollBack = async (version: number): Promise<void> => {
    try {
      const made = await change<{ version: number }>(`${path}/rollback`, { version })
      setSaid(`Version ${made.version} is in force, like version ${version}.`)
      setChosen(undefined)
      askAgain()
      onChange?.()
    } catch (error) {
      setSaid((error as Error).message)
    }
  }
  return (
    <section>
      <h3>{title}</h3>
      <p role="status">{said}</p>
      {shown !== undefined && current !== undefined ? (
        <div class="columns">
          <ol class="versions" aria-label="Versions, newest first">
            {versions.map((one) => (
              <Version
                key={one.version}
                {...{ one, session }}
                isShown={one === shown}
                isInForce={one === current}
                onChoose={() => setChosen(one.version)}
                onRollBack={() => rollBack(one.version)}
              />
            ))}
          </ol>
          <Shown shown={shown} before={versions[versions.indexOf(shown) + 1]} />
        </div>
      ) : inForce === null && !isWanted ? (
        <p>
          None is in force.{' '}
          <button type="button" onClick={() => setWanted(true)}>
            Look for former versions
          </button>
        </p>
      ) : (
        <p class="hint">{trouble ?? '…'}</p>
      )}
    </section>
  )
}

interface VersionProps {
  readonly one: PolicyRecord
  readonly session: Session
  readonly isShown: boolean
  readonly isInForce: boolean
  readonly onChoose: () => void
  readonly onRollBack: () => void
}

function Version({ one, session, isShown, isInForce, onChoose, onRollBack }: VersionProps) {
  const { version, at, by, document } = one
  const isAllowed = session.access === 'admin' && document !== null
  return (
    <li>
      <button type="button" aria-pressed={isShown} onClick={onChoose}>
        Version {version}
      </button>{' '}
      {dateTime(at)} by {by}
      {document === null && ' (deleted)'}{' '}
      {isInForce ? (
        <span class="badge good">in force</span>
      ) : (
        <button type="button" disabled={!isAllowed} onClick={onRollBack}>
          Roll back to {version}
        </button>
      )}
    </li>
  )
}

function Shown({ shown, before }: { shown: PolicyRecord; before: PolicyRecord | undefined }) {
  return (
    <div>
      <h4>
        Version {shown.version}
        {before !== undefined && `, changes since version ${before.version}`}
      </h4>
      <Changes before={before?.document ?? null} after={shown.document} />
      <details>
        <summary>The whole document</summary>
        <pre>{JSON.stringify(shown.document, null, 2)}</pre>
      </details>
    </div>
  )
}
