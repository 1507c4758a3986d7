/**
 * Checks a manifest whole: in itself, and as the routes that it becomes, because what our documents
 * refuse must be refused where it is written.
 */
import { checkMergedDocument } from '../discovery/check-document.ts'
import { formatPath, type Issue } from '../options/fields.ts'
import { withManifests } from './attach.ts'
import { type GatewayRoute, readManifest } from './read-manifest.ts'
import { placesOf } from './service-routes.ts'

/** Every mistake; empty if there is none. Never throws, whatever `value` is. */
export function checkManifest(value: unknown): readonly Issue[] {
  const { route, issues } = readManifest(value)
  return route === undefined ? issues : checkRoutes(route)
}

/** As if attached to a service of every name: its rules are the same for each. */
function checkRoutes(route: GatewayRoute): readonly Issue[] {
  const service = route.attachments[0]?.service ?? 'service'
  const attached = { ...route, attachments: [{ service, consumer: undefined }] }
  const document = withManifests(service, null, [{ route: attached, createdAt: 0 }], () => true)
  const routes = (document?.routes ?? []) as readonly { readonly name: string }[]
  const places = placesOf(attached)
  return checkMergedDocument(document).map(({ path, message }) => {
    const [, index, ...rest] = path
    const place = typeof index === 'number' ? places.get(routes[index]!.name) : undefined
    const inside = formatPath(rest)
    return {
      path: place ?? ['spec'],
      message: inside === '' ? message : `in a document's words, ${inside}: ${message}`,
    }
  })
}
