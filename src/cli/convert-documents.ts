/** What the manifests of a file mean, as documents. */
import { stringify } from 'yaml'
import type { PolicyDocument } from '../discovery/policy-document.ts'
import { withManifests } from '../gateway-api/attach.ts'
import { keyOf, showKey } from '../gateway-api/manifest.ts'
import { type GatewayRoute, readManifest } from '../gateway-api/read-manifest.ts'
import { isAuthorsName } from '../routing/check-route-names.ts'
import { type FileDocument, isOfGateway } from './check-documents.ts'

export function yamlOf(documents: readonly PolicyDocument[]): string {
  const options = { lineWidth: 120, aliasDuplicateObjects: false }
  return documents.map((one) => stringify(one, options).trimEnd()).join('\n---\n')
}

/** Manifests that concern no service. */
export function namesForGateways(documents: readonly FileDocument[]): string[] {
  const others = documents.filter(isOfGateway).filter((one) => readManifest(one).route!.attachments.length === 0)
  return others.map((one) => showKey(keyOf(one)))
}

/** The documents of a file, with what its manifests mean. */
export function documentsOf(documents: readonly FileDocument[]): readonly PolicyDocument[] {
  const own = documents.filter((one): one is PolicyDocument => !isOfGateway(one))
  const routes = documents.filter(isOfGateway).map((one) => readManifest(one).route!)
  return convert(own, routes) as readonly PolicyDocument[]
}

/** In a file the first manifest is the oldest. Every backend is taken to exist. */
function convert(own: readonly PolicyDocument[], routes: readonly GatewayRoute[]): readonly object[] {
  const documents = new Map(own.map((one) => [one.service, one]))
  const services = new Set([...documents.keys(), ...routes.flatMap(servicesOf)])
  const attached = routes.map((route, i) => ({ route, createdAt: i }))
  return [...services].map((service) => {
    const document = (documents.get(service) ?? null) as Readonly<Record<string, unknown>> | null
    return withOwnNames(withManifests(service, document, attached, () => true)!)
  })
}

/** Gives the routes of manifests names that a document may have. */
function withOwnNames(document: Readonly<Record<string, unknown>>): object {
  const routes = document.routes as readonly { readonly name: string }[] | undefined
  if (routes === undefined) return document
  const used = new Set(routes.map(({ name }) => name).filter(isAuthorsName))
  return {
    ...document,
    routes: routes.map((route) => (isAuthorsName(route.name) ? route : { ...route, name: ownName(route.name, used) })),
  }
}

const LONGEST_NAME = 63

function ownName(name: string, used: Set<string>): string {
  const plain = name.replace(/[^a-z0-9-]/g, '-').replace(/^unmatched-/, 'no-match-')
  const ending = (end: string): string => plain.slice(0, LONGEST_NAME - end.length).replace(/(?<!-)-+$/, '') + end
  let free = ending('')
  for (let i = 2; used.has(free); i++) free = ending(`-${i}`)
  used.add(free)
  return free
}

function servicesOf({ attachments }: GatewayRoute): string[] {
  return attachments.map(({ service }) => service)
}
