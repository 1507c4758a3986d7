/** The route of a request: one object for each method of a service. */
import type { Route } from '../../core/call.ts'

/** The parser knows a few dozen methods, so this stays small. */
const routes = new Map<string, Map<string, Route>>()

export function routeOf(service: string, method: string): Route {
  let ofService = routes.get(service)
  if (ofService === undefined) {
    ofService = new Map()
    routes.set(service, ofService)
  }
  let route = ofService.get(method)
  if (route === undefined) {
    route = Object.freeze({ service, method, protocol: 'http', streaming: false, idempotent: false })
    ofService.set(method, route)
  }
  return route
}
