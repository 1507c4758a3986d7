/** The house's rules (docs/architecture.md): imports run downwards, and each foreign package has its rooms. */
const BASE = 'core|options|net'
const CALL_OR_ATTEMPT = '/(?:call|attempt)[.]ts$'
/** Still in a circle of types; whoever breaks it removes the entry. */
const EXEMPT = ['^src/mesh/(?:environment|options)[.]ts$']
const order = [
  ['core', 'core'],
  ['options', '(core|options)'],
  ['net', '(core|options|net)'],
  ['resilience', `(${BASE}|resilience)`],
  ['mux', `(${BASE}|mux)`],
  ['routing', `(${BASE}|resilience|routing)`],
  ['identity', `(${BASE}|identity)`],
  ['telemetry', `(${BASE}|resilience|telemetry)`],
  ['discovery', `(${BASE}|resilience|routing|discovery|identity|telemetry)`],
  ['client', `(${BASE}|resilience|routing|discovery|identity|telemetry|mux|client)`],
  ['server', `(${BASE}|resilience|routing|discovery|identity|telemetry|mux|server)`],
  ['gateway-api', `(${BASE}|resilience|routing|discovery|gateway-api)`],
  ['registry', `(${BASE}|resilience|routing|discovery|identity|telemetry|gateway-api|registry)`],
  ['mesh', `(${BASE}|resilience|routing|discovery|identity|telemetry|client|server|mesh)`],
  ['frameworks', `(${BASE}|resilience|routing|discovery|identity|telemetry|client|server|mesh|frameworks)`],
  ['auto', `(${BASE}|discovery|client|server|mesh|auto)`],
  ['simulator', `(${BASE}|resilience|routing|discovery|identity|telemetry|client|server|testing|simulator)`],
  // Of the registry, types of its answers.
  ['ui', '(discovery|registry|ui)'],
  // Of the mesh, the commands that join it: `call`, `proxy`, `dev`, `doctor`. Of auto, the variables
  // that `run` sets.
  [
    'cli',
    `(${BASE}|resilience|routing|discovery|identity|telemetry|gateway-api|registry|mux|client|mesh|auto|simulator|cli)`,
  ],
]

/** `foreign` may be imported in `rooms` only. */
function only(name, foreign, rooms) {
  return { name, severity: 'error', from: { path: '^src', pathNot: rooms }, to: { path: foreign } }
}

/** Neither protocol's room imports the other's: what both need stands one level up. */
function apart(side, one, other) {
  return {
    name: `${side}-${one}-imports-no-${other}`,
    severity: 'error',
    from: { path: `^src/${side}/${one}/` },
    to: { path: `^src/${side}/${other}/` },
  }
}

module.exports = {
  forbidden: [
    // Types included. A call and its attempts know each other, within one folder.
    {
      name: 'no-cycles',
      severity: 'error',
      from: { pathNot: [CALL_OR_ATTEMPT, ...EXEMPT] },
      to: { circular: true },
    },
    {
      name: 'calls-and-attempts-know-each-other-within-a-folder',
      severity: 'error',
      from: { path: '^(src/.+)/(?:call|attempt)[.]ts$' },
      to: { circular: true, via: { pathNot: '^$1/(?:call|attempt)[.]ts$' } },
    },
    {
      name: 'no-unresolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    ...order.map(([from, to]) => ({
      name: `${from.replace(/\W/g, '-')}-imports-downwards`,
      severity: 'error',
      from: { path: `^src/${from}/` },
      to: { path: '^src', pathNot: `^src/${to}/` },
    })),
    apart('client', 'http', 'grpc'),
    apart('client', 'grpc', 'http'),
    apart('server', 'http', 'grpc'),
    apart('server', 'grpc', 'http'),
    apart('server', 'http2', '(http|grpc)'),
    only('undici-only-in-http-clients', 'node_modules/undici', '^src/client/(http|websocket)/'),
    only('opentelemetry-only-in-telemetry', 'node_modules/@opentelemetry', '^src/telemetry/'),
    only(
      'grpc-only-in-grpc-rooms',
      'node_modules/@grpc',
      '^src/(client/grpc|server/grpc|registry/storage/etcd|cli/call/grpc)/',
    ),
    only('opossum-only-in-its-adapter', 'node_modules/opossum', '^src/resilience/opossum'),
    only('jose-only-in-identity-and-registry', 'node_modules/jose', '^src/(identity|registry)/'),
    only('re2js-only-in-linear-regex', 'node_modules/re2js', '^src/routing/linear-regex'),
    only('p-retry-only-in-retry-loop', 'node_modules/p-retry', '^src/resilience/retry-loop'),
    only('operators-packages-only-in-registry-and-cli', 'node_modules/(yaml|commander|pino)', '^src/(registry|cli)/'),
    only('fastify-only-in-its-plugin', 'node_modules/fastify', '^src/frameworks/fastify[.]ts$'),
    only('hono-only-in-its-plugin', 'node_modules/@?hono', '^src/frameworks/hono[.]ts$'),
    only('koa-only-in-its-plugin', 'node_modules/(@types/)?koa', '^src/frameworks/koa[.]ts$'),
    only('nest-only-in-its-module', 'node_modules/(@nestjs|rxjs)', '^src/frameworks/nest/'),
    only(
      'microservices-of-nest-only-in-theirs',
      'node_modules/@nestjs/microservices',
      '^src/frameworks/nest/microservices/',
    ),
    only('page-packages-only-in-the-page', 'node_modules/(preact|uplot|@dagrejs)', '^src/ui/'),
    {
      name: 'tls-only-in-identity-pools-and-servers',
      severity: 'error',
      from: {
        path: '^src',
        pathNot: '^src/(identity/|client/dial|server/(http/|grpc/|acceptor|port)|registry/|discovery/registry/)',
      },
      to: { path: '^(node:)?tls$' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types', 'node', 'default'] },
  },
}
