/**
 * What commands on stored documents are about: a service's policy, `inventory`, or a Gateway API
 * manifest, `httproute items -n shop`.
 */
import type { Command } from 'commander'
import { MANIFEST_KINDS, type ManifestKind, showKey } from '../gateway-api/manifest.ts'
import { namespaceName, objectName } from '../gateway-api/names.ts'
import type { Field, Issue } from '../options/fields.ts'
import { serviceName } from '../options/names.ts'
import { DEFAULT_NAMESPACE } from '../routing/match.ts'
import { type Failure, invalidUsage } from './failure.ts'
import { parsed } from './flag-values.ts'

export interface ObjectFlags {
  readonly namespace?: string
}

/** A stored document, as the registry's API and its messages name it. */
export interface ObjectReference {
  /** Of the API. */
  readonly path: string
  readonly label: string
}

export function policyPath(service: string, rest = ''): string {
  return `/v1/policies/${encodeURIComponent(service)}${rest}`
}

/** The arguments that {@link referenceOf} reads. */
export function withObject(command: Command, requirement: '<>' | '[]'): Command {
  const [open, close] = requirement
  return command
    .argument(`${open}service${close}`, "a service, or 'mesh', or a kind: httproute, grpcroute")
    .argument('[name]', 'of a manifest of that kind')
    .option('-n, --namespace <namespace>', `of the manifest (default: '${DEFAULT_NAMESPACE}')`, parsed(namespaceName()))
}

/** `httproute`, `HTTPRoute` and `httproutes` are a kind; any other text is none. */
export function kindOf(text: string): ManifestKind | undefined {
  const lower = text.toLowerCase().replace(/s$/, '')
  return MANIFEST_KINDS.find((kind) => kind.toLowerCase() === lower)
}

/** @throws Failure `invalid-usage` */
export function referenceOf(first: string, name: string | undefined, { namespace }: ObjectFlags): ObjectReference {
  const kind = kindOf(first)
  if (kind === undefined) {
    valid(serviceName(), first, 'service')
    if (name !== undefined) {
      const message = `too many arguments: the name '${name}' needs a kind before it, httproute or grpcroute`
      throw invalidUsage(message)
    }
    if (namespace !== undefined) throw wrong('namespace', namespace, 'Services have none')
    return { path: policyPath(first), label: first }
  }
  if (name === undefined) throw invalidUsage(`missing the name of the ${kind}`)
  valid(objectName(), name, 'name')
  const key = { kind, namespace: namespace ?? DEFAULT_NAMESPACE, name }
  return { path: `/v1/manifests/${kind}/${key.namespace}/${name}`, label: showKey(key) }
}

function valid(field: Field<string>, value: string, argument: string): void {
  const issues: Issue[] = []
  field.parse(value, [], issues)
  if (issues.length > 0) throw wrong(argument, value, issues[0]!.message)
}

function wrong(argument: string, value: string, why: string): Failure {
  const message = `command-argument value '${value}' is invalid for argument '${argument}'. ${why}.`
  return invalidUsage(message)
}
