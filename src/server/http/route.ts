/** Routes of served requests, one for each service and HTTP method. */
import type { Route } from '../../core/call.ts'

/** Bounded, because the parser accepts a few dozen methods. */
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
