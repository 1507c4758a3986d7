/** The document of a service with its history: what each version changed, and the way back. */
import { useState } from 'preact/hooks'
import type { StoredPolicy } from '../../registry/policy-change.ts'
import type { PolicyRecord } from '../../registry/records.ts'
import { change, type Session } from '../api.ts'
import { dateTime } from '../format.ts'
import { useAnswer } from '../use-answer.ts'
import { changesBetween } from './diff.ts'

const EVERY_MS = 10_000

interface PolicyProps {
  readonly service: string
  /** `null`: there is none in force, or it is not known. */
  readonly inForce: number | null
  readonly session: Session
}

export function Policy({ service, inForce, session }: PolicyProps) {
  const [isWanted, setWanted] = useState(false)
  const { answer, trouble, askAgain } = useAnswer<{ versions: readonly PolicyRecord[] }>(
    inForce === null && !isWanted ? '' : `/v1/policies/${service}/history`,
    EVERY_MS,
  )
  const [chosen, setChosen] = useState<number>()
  const [said, setSaid] = useState<string>()
  const versions = answer?.versions ?? []
  const current = versions[0]
  const shown = versions.find(({ version }) => version === chosen) ?? current
  const rollBack = async (version: number): Promise<void> => {
    try {
      const made = await change<{ version: number }>(`/v1/policies/${service}/rollback`, { version })
      setSaid(`Version ${made.version} is in force, like version ${version}.`)
      setChosen(undefined)
      askAgain()
    } catch (error) {
      setSaid((error as Error).message)
    }
  }
  if (current === undefined || shown === undefined) {
    return (
      <section>
        <h3>Policy</h3>
        {inForce === null && !isWanted ? (
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
  const before = versions[versions.indexOf(shown) + 1]
  return (
    <section>
      <h3>Policy</h3>
      <p role="status">{said}</p>
      <div class="columns">
        <ol class="versions" aria-label="Versions, newest first">
          {versions.map(({ version, at, by, document }) => (
            <li key={version}>
              <button type="button" aria-pressed={version === shown.version} onClick={() => setChosen(version)}>
                Version {version}
              </button>{' '}
              {dateTime(at)} by {by}
              {document === null && ' (deleted)'}
              {version === current.version ? (
                ' (in force)'
              ) : (
                <button
                  type="button"
                  disabled={session.access !== 'admin' || document === null}
                  onClick={() => rollBack(version)}
                >
                  Roll back to {version}
                </button>
              )}
            </li>
          ))}
        </ol>
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
      </div>
    </section>
  )
}

function Changes({ before, after }: { before: StoredPolicy | null; after: StoredPolicy | null }) {
  const changes = changesBetween(before, after)
  return (
    <ul class="changes">
      {changes.map(({ path, was, is }) => (
        <li key={path}>
          <code>{path}</code>
          {was !== undefined && <del>{was}</del>}
          {is !== undefined && <ins>{is}</ins>}
        </li>
      ))}
    </ul>
  )
}
