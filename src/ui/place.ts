/** Where in the page a reader is, kept in the address after `#`: it may be sent as a link. */
import { useEffect, useState } from 'preact/hooks'

export const VIEWS = ['graph', 'service', 'events', 'mesh'] as const
export type View = (typeof VIEWS)[number]
/** Seconds. */
export const WINDOWS = [15, 60, 300, 900] as const

export interface Place {
  readonly view: View
  /** Of the service view; in the graph the one in the middle, events: those of it. */
  readonly service: string
  readonly windowS: number
  /** Wall clock, ms: the end of the window; `undefined`: now. */
  readonly at: number | undefined
  readonly filter: string
}

/** As the registry takes names: no other gets into a path that is asked for. */
const SERVICE = /^[a-z0-9-]{1,63}$/
const LATEST = 8.64e15
/** A token of an operator or of a process, wherever it stands. */
const TOKEN = /inmesh-(?:admin|join)\./

const START: Place = { view: 'graph', service: '', windowS: 60, at: undefined, filter: '' }

export function readPlace(hash: string): Place {
  const [view = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2)
  const given = new URLSearchParams(query)
  const at = Number(given.get('at'))
  const service = given.get('service') ?? ''
  const windowS = Number(given.get('window'))
  return {
    view: VIEWS.find((one) => one === view) ?? 'graph',
    service: SERVICE.test(service) ? service : '',
    windowS: WINDOWS.find((one) => one === windowS) ?? 60,
    at: Number.isInteger(at) && at > 0 && at <= LATEST ? at : undefined,
    filter: given.get('filter') ?? '',
  }
}

export function linkTo(place: Partial<Place>, from: Place = START): string {
  const { view, service, windowS, at, filter } = { ...from, ...place }
  const query = new URLSearchParams()
  if (service !== '') query.set('service', service)
  if (windowS !== START.windowS) query.set('window', String(windowS))
  if (at !== undefined) query.set('at', String(Math.round(at)))
  if (filter !== '') query.set('filter', filter)
  return `#/${view}${query.size > 0 ? `?${query}` : ''}`
}

export function go(place: Partial<Place>, from: Place): void {
  location.hash = linkTo(place, from)
}

/** A token that somebody put into the address stays in no history. */
export function forgetToken(): void {
  if (TOKEN.test(location.hash)) history.replaceState(null, '', '#/graph')
}

/** Without a step of the browser's history: for letters that are typed, and moments that pass. */
export function drift(place: Partial<Place>, from: Place): void {
  location.replace(linkTo(place, from))
}

export function usePlace(): Place {
  const [place, setPlace] = useState(() => readPlace(location.hash))
  useEffect(() => {
    const follow = (): void => {
      forgetToken()
      setPlace(readPlace(location.hash))
    }
    follow()
    addEventListener('hashchange', follow)
    return () => removeEventListener('hashchange', follow)
  }, [])
  return place
}
