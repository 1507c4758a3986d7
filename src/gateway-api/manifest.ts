/**
 * A manifest as an object: its kind, its namespace and its name. Everything else of a manifest is
 * read by its kind's own file.
 */
import { fields, instance, oneOf, optional } from '../options/fields.ts'
import { DEFAULT_NAMESPACE } from '../routing/match.ts'
import { namespaceName, objectName } from './names.ts'

export const API_VERSION = 'gateway.networking.k8s.io/v1'

/** The kinds of manifests that the mesh takes. */
export const MANIFEST_KINDS = ['HTTPRoute', 'GRPCRoute'] as const
export type ManifestKind = (typeof MANIFEST_KINDS)[number]

/** What names a manifest: a second one of the same key replaces the first. */
export interface ManifestKey {
  readonly kind: ManifestKind
  readonly namespace: string
  readonly name: string
}

/** A checked manifest, as it was written. */
export interface Manifest {
  readonly apiVersion: typeof API_VERSION
  readonly kind: ManifestKind
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly spec: unknown
}

const anything = optional(instance('anything', () => true))

/** The rest of `metadata` is about the object itself and asks for nothing. */
const METADATA = fields({
  name: objectName(),
  namespace: optional(namespaceName()),
  labels: anything,
  annotations: anything,
  creationTimestamp: anything,
  deletionGracePeriodSeconds: anything,
  deletionTimestamp: anything,
  finalizers: anything,
  generateName: anything,
  generation: anything,
  managedFields: anything,
  ownerReferences: anything,
  resourceVersion: anything,
  selfLink: anything,
  uid: anything,
})

export const OBJECT = fields({
  apiVersion: oneOf([API_VERSION]),
  kind: oneOf(MANIFEST_KINDS),
  metadata: METADATA,
  spec: instance<object>('the specification of the route', (value) => typeof value === 'object' && value !== null),
  /** What a cluster reports. */
  status: anything,
})

/** Whether `value` means to be a Kubernetes object. Documents of ours have no kind. */
export function isManifest(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && 'kind' in value && 'apiVersion' in value
}

/** Of a checked manifest. */
export function keyOf({ kind, metadata }: Manifest): ManifestKey {
  return { kind, namespace: metadata.namespace ?? DEFAULT_NAMESPACE, name: metadata.name }
}

/** `HTTPRoute shop/items`, as errors and the command line write it. */
export function showKey({ kind, namespace, name }: ManifestKey): string {
  return `${kind} ${namespace}/${name}`
}

/** The objects in a list as `kubectl get -o yaml` prints it; `undefined`: it is no list. */
export function itemsOf(value: unknown): readonly unknown[] | undefined {
  if (!isManifest(value)) return undefined
  const { kind, items } = value
  const isList = kind === 'List' || MANIFEST_KINDS.some((one) => kind === `${one}List`)
  return isList && Array.isArray(items) ? items : undefined
}
