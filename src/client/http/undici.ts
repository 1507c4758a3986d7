/**
 * Loads undici on first use. Importing undici 8 installs its dispatcher for the built-in `fetch`;
 * this module restores the application's own.
 */
import type undiciModule from 'undici'

export type Undici = Pick<
  typeof undiciModule,
  'Client' | 'Dispatcher' | 'Agent' | 'WebSocket' | 'ErrorEvent' | 'errors'
>

/** Where the two generations of undici look for the global dispatcher. */
const OLD_PLACE = Symbol.for('undici.globalDispatcher.1')
const NEW_PLACE = Symbol.for('undici.globalDispatcher.2')

let loaded: Undici | undefined
let loading: Promise<Undici> | undefined

/** Loads undici once; later calls get the same promise. */
export function loadUndici(): Promise<Undici> {
  loading ??= load()
  return loading
}

/** What {@link loadUndici} has loaded; available after `joinMesh`. */
export function undici(): Undici {
  if (loaded === undefined) throw new Error('undici is not loaded yet: await loadUndici() first')
  return loaded
}

async function load(): Promise<Undici> {
  // Node installs its own dispatcher when a fetch global is first touched; touching one makes sure
  // it was there first.
  void globalThis.Response
  const before = [OLD_PLACE, NEW_PLACE].map(
    (place) => [place, Object.getOwnPropertyDescriptor(globalThis, place)] as const,
  )
  try {
    const module = await import('undici')
    // In CommonJS-to-ESM interop the named exports are all there; the default export is the whole
    // module.
    const { Client, Dispatcher, Agent, WebSocket, ErrorEvent, errors } = module
    loaded = { Client, Dispatcher, Agent, WebSocket, ErrorEvent, errors }
  } finally {
    for (const [place, descriptor] of before) {
      // A place that was empty (the new one, on Node 22) stays as undici left it: undici made it
      // permanent, Node's own fetch does not look there, and an application's own undici 8 needs
      // it.
      if (descriptor !== undefined) Object.defineProperty(globalThis, place, descriptor)
    }
  }
  return loaded
}
