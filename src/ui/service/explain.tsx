/** Asks where a request would go, and why a caller is denied. */
import { useState } from 'preact/hooks'
import type { Explanation } from '../../discovery/explanation.ts'
import { change } from '../api.ts'
import { counted, percent } from '../format.ts'

interface ExplainProps {
  readonly service: string
  readonly callers: readonly { readonly service: string }[]
  /** The rule that decided; `undefined`: no single one. */
  readonly onDecided: (rule: string | undefined) => void
}

export function Explain({ service, callers, onDecided }: ExplainProps) {
  const [answer, setAnswer] = useState<Explanation>()
  const [trouble, setTrouble] = useState<string>()
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault()
    const given = new FormData(event.currentTarget as HTMLFormElement)
    const from = String(given.get('from'))
    const request = {
      service,
      method: String(given.get('method')),
      path: String(given.get('path')),
      ...(from !== '' && { from }),
    }
    try {
      const explained = await change<Explanation>('/v1/explain', request)
      setAnswer(explained)
      const own = explained.targets.find((one) => one.service === service)
      onDecided(own?.intention.rule)
      setTrouble(undefined)
    } catch (error) {
      setAnswer(undefined)
      setTrouble((error as Error).message)
    }
  }
  return (
    <section>
      <h3>Why is a caller denied, and where does a request go?</h3>
      <form class="bar" onSubmit={submit}>
        <label>
          Caller{' '}
          <select name="from">
            <option value="">not known</option>
            {callers.map((one) => (
              <option key={one.service} value={one.service}>
                {one.service}
              </option>
            ))}
          </select>
        </label>
        <label>
          Method <input name="method" defaultValue="GET" size={7} maxLength={32} />
        </label>
        <label>
          Path <input name="path" defaultValue="/" maxLength={2_000} />
        </label>
        <button type="submit">Explain</button>
      </form>
      <p role="alert">{trouble}</p>
      {answer !== undefined && <Answer answer={answer} />}
    </section>
  )
}

function Answer({ answer }: { answer: Explanation }) {
  const { action, route, targets, warnings, from, method, path } = answer
  return (
    <div aria-live="polite">
      <p>
        <b>
          {method} {path}
        </b>
        {from !== null && ` from ${from}`}: {route === null ? 'no route matches' : `route ${route}`}, {action}
      </p>
      <ul>
        {targets.map(({ key, service, subset, share, intention, endpoints }) => (
          <li key={key}>
            <span class={`badge ${intention.allowed ? 'good' : 'bad'}`}>
              {intention.allowed ? '✓ allowed' : '✖ denied'} by {intention.rule} (
              {intention.from === 'default' ? 'no document' : `document of the ${intention.from}`})
            </span>
            {service}
            {subset !== null && ` subset ${subset}`}, {percent(share)} of the calls,{' '}
            {counted(endpoints.length, 'endpoint')}
            {!intention.allowed && intention.rule === 'default' && (
              <span class="hint"> No rule lets {from ?? 'this caller'} do that.</span>
            )}
          </li>
        ))}
      </ul>
      {warnings.length > 0 && <pre>{JSON.stringify(warnings, null, 2)}</pre>}
    </div>
  )
}
