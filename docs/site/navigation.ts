/** The groups of the documentation, in their order, and the pages of each. */
import { globSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

export interface Group {
  readonly title: string
  /** From the root of the repository. */
  readonly pages: readonly string[]
}

/** A pattern stands for its pages in alphabetical order. */
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  'Getting started': ['docs/getting-started.md', 'docs/concepts.md', 'examples/README.md', 'examples/*/README.md'],
  Guides: [
    'docs/http-clients.md',
    'docs/frameworks.md',
    'docs/node-http.md',
    'docs/nest.md',
    'docs/nextjs.md',
    'docs/zero-code.md',
    'docs/grpc.md',
    'docs/websocket.md',
    'docs/tcp.md',
    'docs/ingress.md',
    'docs/resilience.md',
    'docs/policies.md',
    'docs/gateway-api.md',
    'docs/testing.md',
    'docs/compatibility.md',
  ],
  Observing: [
    'docs/opentelemetry.md',
    'docs/prometheus.md',
    'docs/service-graph.md',
    'docs/ui.md',
    'docs/access-log.md',
    'docs/debug.md',
  ],
  Operations: [
    'docs/running-the-registry.md',
    'docs/deployment.md',
    'docs/kubernetes.md',
    'docs/identity.md',
    'docs/security-model.md',
    'docs/what-happens-when.md',
    'docs/troubleshooting.md',
    'docs/faq.md',
  ],
  Migrating: ['docs/migrating.md'],
  Policies: ['docs/policies/README.md', 'docs/policies/*.md'],
  Reference: [
    'docs/options.md',
    'docs/cli.md',
    'docs/errors.md',
    'docs/events.md',
    'docs/metrics.md',
    'docs/traces.md',
    'docs/traffic.md',
    'docs/reference/*.md',
  ],
  Comparing: ['docs/comparison.md', 'docs/benchmarks.md'],
  Project: ['docs/architecture.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md'],
  Decisions: ['docs/decisions/README.md', 'docs/decisions/*.md'],
}

/** Where pages are that no group names. */
const OTHERS = 'Guides'

/** Every page is in one group: a new one that none names is a guide. */
export function groups(): readonly Group[] {
  const seen = new Set<string>()
  const taken = Object.entries(GROUPS).map(([title, patterns]) => {
    const pages = patterns.flatMap((pattern) => globSync(pattern, { cwd: ROOT }).toSorted())
    return { title, pages: pages.filter((page) => !seen.has(page) && seen.add(page)) }
  })
  const others = globSync('docs/*.md', { cwd: ROOT }).filter((page) => !seen.has(page))
  return taken.map(({ title, pages }) => ({
    title,
    pages: title === OTHERS ? [...pages, ...others.toSorted()] : pages,
  }))
}
