/** Asks the registry that served this page: JSON, changes, and the stream of the graph. */

const HEADERS = { 'x-inmesh-ui': '1', accept: 'application/json' } as const

/** The registry refused, or did not answer (`unreachable`). */
export class Refusal extends Error {
  readonly code: string
  readonly status: number

  constructor(code: string, message: string, status = 0) {
    super(message)
    this.code = code
    this.status = status
  }
}

export interface Session {
  readonly name: string
  readonly access: 'admin' | 'read'
  readonly dev: boolean
  readonly trustDomain: string
  readonly registry: string
}

/** @throws Refusal */
export function ask<T>(path: string, signal?: AbortSignal): Promise<T> {
  return send<T>(`/ui/api${path}`, signal === undefined ? {} : { signal })
}

/** @throws Refusal */
export function change<T>(path: string, body: object = {}): Promise<T> {
  return post<T>(`/ui/api${path}`, body)
}

/** `undefined`: without a session. */
export async function currentSession(): Promise<Session | undefined> {
  const { name, ...session } = await send<Omit<Session, 'name'> & { name: string | null }>('/ui/session', {})
  return name === null ? undefined : { ...session, name }
}

export function logIn(token: string): Promise<Session> {
  return post<Session>('/ui/login', { token })
}

export function logOut(): Promise<unknown> {
  return post('/ui/logout', {})
}

/**
 * Calls `onGraph` for each event until `signal` aborts or the stream ends. Not by EventSource,
 * which sends no header.
 */
export async function streamGraph<T>(
  windowMs: number,
  onGraph: (graph: T) => void,
  signal: AbortSignal,
): Promise<void> {
  const response = await fetch(`/ui/api/v1/traffic/stream?window=${windowMs / 1_000}s`, { headers: HEADERS, signal })
  if (!response.ok || response.body === null) throw await refusalOf(response)
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    text += value
    const events = text.split('\n\n')
    text = events.pop()!
    for (const event of events) {
      const data = /^data: (.*)$/m.exec(event)?.[1]
      if (data !== undefined) onGraph(JSON.parse(data) as T)
    }
  }
}

function post<T>(path: string, body: object): Promise<T> {
  const headers = { 'content-type': 'application/json' }
  return send<T>(path, { method: 'POST', headers, body: JSON.stringify(body) })
}

async function send<T>(path: string, init: RequestInit): Promise<T> {
  let response: Response
  try {
    response = await fetch(path, { ...init, headers: { ...HEADERS, ...init.headers }, credentials: 'same-origin' })
  } catch (error) {
    if (init.signal?.aborted) throw error
    throw new Refusal('unreachable', 'the registry does not answer')
  }
  if (!response.ok) throw await refusalOf(response)
  return (await response.json()) as T
}

async function refusalOf(response: Response): Promise<Refusal> {
  const body = (await response.json().catch(() => undefined)) as
    | { error?: { code?: string; message?: string } }
    | undefined
  const { code = 'internal', message = `the registry answered ${response.status}` } = body?.error ?? {}
  return new Refusal(code, message, response.status)
}
