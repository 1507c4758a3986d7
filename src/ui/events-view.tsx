/** What happened in the last hour, with the way to that moment in the graph. */
import { useState } from 'preact/hooks'
import type { EventKind, MeshEvent } from '../registry/traffic/events.ts'
import type { Graph } from '../registry/traffic/graph.ts'
import { clockTime, dateTime, processName } from './format.ts'
import { Headings } from './headings.tsx'
import { drift, go, linkTo, type Place } from './place.ts'
import { useAnswer } from './use-answer.ts'

const EVERY_MS = 5_000
/** Later than the event, so that the window holds what it did. */
const AFTER_MS = 15_000

const KINDS: Readonly<Record<EventKind, string>> = {
  circuit: 'Circuits',
  ejection: 'Ejections',
  panic: 'Panic',
  change: 'Other changes',
  instance: 'Instances',
  push: 'Documents',
  denial: 'Denials',
  freeze: 'Freezes',
  refused: 'Refused requests',
  audit: 'Other audit',
}

/** The end of a trouble. */
const CALM: ReadonlySet<string> = new Set([
  'closed',
  'restored',
  'withdrawn',
  'off',
  'allow',
  'release',
  'expiry-resumed',
])

interface EventsAnswer {
  readonly events: readonly MeshEvent[]
  readonly left: number
  readonly unreachable: readonly { readonly registry: string }[]
}

export function EventsView({ place, graph }: { place: Place; graph: Graph | undefined }) {
  const { service, filter } = place
  const [kind, setKind] = useState<EventKind | ''>('')
  const query = new URLSearchParams({ limit: '500', ...(kind && { kind }), ...(service && { service }) })
  const { answer, trouble } = useAnswer<EventsAnswer>(`/v1/traffic/events?${query}`, EVERY_MS)
  const events = answer?.events.filter((event) => matches(event, filter)) ?? []
  return (
    <>
      <div class="bar">
        <label>
          Kind{' '}
          <select value={kind} onChange={(event) => setKind(event.currentTarget.value as EventKind | '')}>
            <option value="">all</option>
            {Object.entries(KINDS).map(([value, title]) => (
              <option key={value} value={value}>
                {title}
              </option>
            ))}
          </select>
        </label>
        <label>
          Service{' '}
          <select value={service} onChange={(event) => go({ service: event.currentTarget.value }, place)}>
            <option value="">all</option>
            {graph?.nodes.map((node) => (
              <option key={node.service} value={node.service}>
                {node.service}
              </option>
            ))}
          </select>
        </label>
        <label>
          Filter{' '}
          <input
            type="search"
            value={filter}
            maxLength={100}
            onInput={(event) => drift({ filter: event.currentTarget.value }, place)}
          />
        </label>
      </div>
      {trouble !== undefined && <p role="alert">{trouble}</p>}
      {(answer?.unreachable.length ?? 0) > 0 && <p class="hint unheard">Not all registries answered.</p>}
      <div class="table">
        <table>
          <caption>Events, newest first</caption>
          <thead>
            <Headings titles={['Time', 'Kind', 'What', 'Service', 'Seen by', 'Instance', 'Detail']} />
          </thead>
          <tbody>
            {events.map((event, i) => (
              <Row key={`${event.at} ${i}`} event={event} place={place} />
            ))}
          </tbody>
        </table>
        {answer !== undefined && events.length === 0 && <p class="hint">None in the last hour.</p>}
        {(answer?.left ?? 0) > 0 && <p class="hint">{answer!.left} older ones are not shown.</p>}
      </div>
    </>
  )
}

function Row({ event, place }: { event: MeshEvent; place: Place }) {
  const { at, kind, what, service, from, process, before, instance, route, who, detail } = event
  return (
    <tr class={severityOf(event)} data-event={`${kind} ${what}`}>
      <th scope="row" title={dateTime(at)}>
        <a href={linkTo({ view: 'graph', at: at + AFTER_MS, service: service ?? '', filter: '' }, place)}>
          {clockTime(at)}
        </a>
      </th>
      <td>{KINDS[kind] ?? kind}</td>
      <td>{before === null ? what : `${before} → ${what}`}</td>
      <td>{service !== null && <a href={linkTo({ view: 'service', service, filter: '' }, place)}>{service}</a>}</td>
      <td>{[process === null ? from : processName(process), who].filter((one) => one !== null).join(', ')}</td>
      <td>{instance}</td>
      <td>{[route === null ? null : `route ${route}`, detail].filter((one) => one !== null).join(', ')}</td>
    </tr>
  )
}

/** What is out of the ordinary stands out. */
function severityOf({ kind, what }: MeshEvent): string {
  if (what === 'open' || what === 'lost' || (kind === 'panic' && what === 'on')) return 'bad'
  return ['ejection', 'denial', 'freeze', 'refused', 'panic', 'circuit'].includes(kind) && !CALM.has(what) ? 'warn' : ''
}

function matches(event: MeshEvent, filter: string): boolean {
  const wanted = filter.trim().toLowerCase()
  return wanted === '' || Object.values(event).some((value) => String(value).toLowerCase().includes(wanted))
}
