/**
 * The routes for probes that the plugins add: whether the process lives, and whether it should get
 * requests.
 */
import type { MeshState } from '../core/mesh-state.ts'
import { check, fields, instance, optional, type Parsed, withDefault } from '../options/fields.ts'

/** How long {@link HealthOptions.check} may take. */
const CHECK_MS = 2_000

/** Routes for probes. They need `mesh`; without it there are none. */
export interface HealthOptions {
  /**
   * The process in the mesh: `/readyz` answers 503 until it has joined and once it leaves.
   * @defaultValue none: there are no routes
   */
  readonly mesh?: {
    /** `mesh.state`. */
    readonly state: MeshState
  }
  /**
   * Path of the route that answers 200 as long as the process does; `false`: none.
   * @defaultValue `'/livez'`
   */
  readonly livez?: string | false
  /**
   * Path of the route that answers 200, or 503 with the reason; `false`: none.
   * @defaultValue `'/readyz'`
   */
  readonly readyz?: string | false
  /**
   * A further condition of `/readyz`, such as a database that answers. It is not met if this
   * returns or resolves to `false`, throws, rejects, or takes longer than 2 s.
   * @defaultValue none
   */
  readonly check?: () => unknown
}

/** Without `?` and `#`. */
const PATH = /^\/[\x21\x22\x24-\x3e\x40-\x7e]*$/
const path = () =>
  instance<string | false>(
    "a path that begins with '/', or false",
    (value) => value === false || PATH.test(String(value)),
  )
/** For each plugin, with its own fields. */
export const HEALTH_SHAPE = {
  mesh: optional(
    instance<{ readonly state: MeshState }>(
      'the result of joinMesh()',
      (value) => typeof Object(value).state === 'string',
    ),
  ),
  livez: withDefault(path(), '/livez'),
  readyz: withDefault(path(), '/readyz'),
  check: optional(instance<() => unknown>('a function', (value) => typeof value === 'function')),
}
const FIELDS = fields(HEALTH_SHAPE)

/** The answer to a probe. */
export interface HealthAnswer {
  readonly status: 200 | 503
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Answers a request for one of the routes; `undefined` for every other. `url` may have a query. */
export type AnswerHealth = (method: string, url: string) => Promise<HealthAnswer> | undefined

const NO_ROUTES: AnswerHealth = () => undefined

/** @throws OptionsError naming each wrong option */
export function healthRoutes(what: string, options: HealthOptions | undefined): AnswerHealth {
  return routesOf(check(FIELDS, options, what))
}

/** The same for options that are valid. */
export function routesOf({ mesh, livez, readyz, check: condition }: Parsed<typeof FIELDS>): AnswerHealth {
  if (mesh === undefined) return NO_ROUTES
  return (method, url) => {
    if (method !== 'GET' && method !== 'HEAD') return undefined
    const end = url.indexOf('?')
    const asked = end < 0 ? url : url.slice(0, end)
    if (asked === livez) return Promise.resolve(answer(200, 'ok'))
    return asked === readyz ? readiness(mesh, condition) : undefined
  }
}

async function readiness(
  mesh: { readonly state: MeshState },
  condition: (() => unknown) | undefined,
): Promise<HealthAnswer> {
  if (mesh.state !== 'ready') return answer(503, mesh.state)
  if (condition === undefined) return answer(200, 'ready')
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(resolve, CHECK_MS, `check took longer than ${CHECK_MS} ms`)
  })
  try {
    const unmet = await Promise.race([
      (async () => ((await condition()) === false ? 'check returned false' : undefined))(),
      late,
    ])
    return unmet === undefined ? answer(200, 'ready') : answer(503, unmet)
  } catch {
    // What it throws may name what is inside.
    return answer(503, 'check failed')
  } finally {
    clearTimeout(timer)
  }
}

function answer(status: 200 | 503, text: string): HealthAnswer {
  return { status, headers: { 'content-type': 'text/plain', 'cache-control': 'no-store' }, body: `${text}\n` }
}
