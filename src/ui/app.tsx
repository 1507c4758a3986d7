/** The page: who is logged in, where the reader is, and the view of that place. */
import { useCallback, useEffect, useState } from 'preact/hooks'
import { currentSession, logOut, type Session } from './api.ts'
import { EventsView } from './events-view.tsx'
import { GraphView } from './graph/graph-view.tsx'
import { Login } from './login.tsx'
import { MeshView } from './mesh/mesh-view.tsx'
import { linkTo, type Place, usePlace, type View } from './place.ts'
import { ServiceView } from './service/service-view.tsx'
import { useGraph } from './use-graph.ts'

type State = { readonly session?: Session; readonly trouble?: string; readonly isKnown: boolean }

export function App() {
  const [{ session, trouble, isKnown }, setState] = useState<State>({ isKnown: false })
  useEffect(() => {
    currentSession().then(
      (found) => setState({ isKnown: true, ...(found !== undefined && { session: found }) }),
      (error: Error) => setState({ isKnown: true, trouble: error.message }),
    )
  }, [])
  const leave = useCallback(() => setState({ isKnown: true }), [])
  if (!isKnown) return <p class="hint">…</p>
  if (trouble !== undefined) return <p role="alert">{trouble}</p>
  if (session === undefined) return <Login onLogIn={(one) => setState({ session: one, isKnown: true })} />
  return <Mesh session={session} onEnd={leave} />
}

const TITLES: Readonly<Record<View, string>> = {
  graph: 'Graph',
  service: 'Service',
  events: 'Events',
  mesh: 'Certificates and control plane',
}

function Mesh({ session, onEnd }: { session: Session; onEnd: () => void }) {
  const place = usePlace()
  const shown = useGraph(place, onEnd)
  useEffect(() => {
    document.title = `${[place.service, TITLES[place.view]].filter(Boolean).join(' · ')} · inmesh`
  }, [place.view, place.service])
  return (
    <>
      <header>
        <strong class="brand">inmesh</strong>
        <nav aria-label="Views">
          {Object.entries(TITLES).map(([view, title]) => (
            <a
              key={view}
              href={linkTo({ view: view as View, ...(view === 'graph' && { service: '' }) }, place)}
              aria-current={place.view === view ? 'page' : undefined}
            >
              {title}
            </a>
          ))}
        </nav>
        <span class="who">
          {session.trustDomain} · {session.name}
          {session.access === 'read' && ' (may only look)'}
          {session.dev && ' · development'}
        </span>
        {session.name !== 'dev' && (
          <button type="button" onClick={() => logOut().finally(onEnd)}>
            Log out
          </button>
        )}
      </header>
      <main>
        <h1 class="unseen">{TITLES[place.view]}</h1>
        {shown.trouble !== undefined && (
          <p role="alert" class="trouble">
            Not up to date: {shown.trouble}
          </p>
        )}
        <ViewOf place={place} session={session} shown={shown} />
      </main>
    </>
  )
}

interface ViewProps {
  readonly place: Place
  readonly session: Session
  readonly shown: ReturnType<typeof useGraph>
}

function ViewOf({ place, session, shown: { graph } }: ViewProps) {
  switch (place.view) {
    case 'graph':
      return <GraphView place={place} graph={graph} />
    case 'service':
      return <ServiceView place={place} graph={graph} session={session} />
    case 'events':
      return <EventsView place={place} graph={graph} />
    case 'mesh':
      return <MeshView graph={graph} session={session} />
  }
}
