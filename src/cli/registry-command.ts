/** `inmesh registry`: runs a registry until a signal. */
import { type Command, Option } from 'commander'
import { describeIssue, OptionsError } from '../options/fields.ts'
import type { Registry, RegistryOptions } from '../registry/index.ts'
import { type CommonFlags, jsonOption } from './connection.ts'
import { defaultDataDirectory } from './data-directory.ts'
import { withExample } from './examples.ts'
import { invalidUsage } from './failure.ts'
import { numeric } from './flag-values.ts'
import { untilSignal } from './signals.ts'
import { STORE_FLAGS, type StoreFlags, storeFrom, withStore } from './store-flags.ts'
import { type CliContext, Terminal } from './terminal.ts'

/** As text: the registry's options validate the values. */
interface RegistryFlags extends CommonFlags, StoreFlags {
  readonly address?: string
  readonly port?: string
  readonly dataDir?: string
  readonly memory?: boolean
  readonly dev?: boolean
  readonly trustDomain?: string
  readonly lease?: string
  readonly certificateLife?: string
  readonly name?: readonly string[]
  readonly advertise?: string
  readonly caDir?: string
  readonly sealKey?: string
  readonly formerSealKey?: string
  /** False with `--no-traffic`. */
  readonly traffic: boolean
  readonly ui?: string
  readonly logLevel: 'info' | 'silent'
}

/** The flag that sets each option of the registry. */
const FLAGS: Readonly<Record<string, string>> = {
  address: '--address',
  port: '--port',
  dataDir: '--data-dir',
  ...STORE_FLAGS,
  memory: '--memory',
  dev: '--dev',
  trustDomain: '--trust-domain',
  lease: '--lease',
  certificateLife: '--certificate-life',
  names: '--name',
  advertise: '--advertise',
  caDir: '--ca-dir',
  sealKey: '--seal-key',
  formerSealKey: '--former-seal-key',
  uiPort: '--ui',
}

export function addRegistryCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('registry')
    .description('Run a registry until SIGTERM or SIGINT: discovery, policies and certificate authority of one mesh.')
    .option('--address <ip>', 'address to listen on (default: 127.0.0.1)')
    .option('--port <n>', 'port to listen on; 0 = any free one (default: 7400)')
    .option(
      '--data-dir <dir>',
      'where its state is kept (default: ~/.local/state/inmesh-registry, with --dev inmesh-registry-dev)',
    )
    .option('--memory', 'keep the state in memory only: it dies with the process')
    .option('--dev', 'for development: joining and commands need no token; loopback addresses only')
    .option('--trust-domain <name>', 'the name of the mesh in all identities (default: inmesh.local)')
    .option('--lease <duration>', "a silent process's instances vanish after so long (default: 15s)")
    .option('--certificate-life <duration>', 'of the certificates it issues (default: 24h)')
    .option('--name <name...>', 'DNS names or addresses under which it is reached, besides the one it listens on')
    .option('--advertise <url>', 'where other registries and operators reach it (default: the address it listens on)')
    .option('--ca-dir <dir>', 'an intermediate made elsewhere: intermediate.key and chain.pem (see `inmesh ca`)')
    .option('--seal-key <source>', 'what seals its private keys at rest: file:PATH, env:NAME or cmd:COMMAND')
    .option('--former-seal-key <source>', 'the seal key so far, to change it')
    .option('--no-traffic', 'do not ask processes for their calls: no service graph')
    .option('--ui <port>', 'the page in plain text on this port of 127.0.0.1, too; 0 = any free one')
    .addOption(
      new Option('--log-level <level>', 'JSON lines on stderr, or nothing').choices(['info', 'silent']).default('info'),
    )
    .addOption(jsonOption())
  withStore(command, 'an etcd that registries share')
  withExample(
    command,
    'inmesh registry --dev',
    'inmesh registry --address 10.0.0.5 --data-dir /var/lib/inmesh --seal-key file:/etc/inmesh/seal-key --json',
  )
  command.action((flags: RegistryFlags) => runRegistry(flags, surroundings))
}

async function runRegistry(flags: RegistryFlags, surroundings: CliContext): Promise<void> {
  const terminal = new Terminal(surroundings, flags.json === true)
  const stopped = untilSignal()
  const registry = await start(optionsFrom(flags, surroundings)).catch((error: unknown) => {
    stopped.forget()
    throw error
  })
  const { url, uiUrl, rootFingerprint, trustDomain, dev } = registry
  // Without a directory there is no file to read it from.
  const adminToken = flags.memory === true && !dev ? registry.adminToken : undefined
  if (dev) terminal.note('DEVELOPMENT MODE: anybody on this machine may join as any service and change everything.')
  terminal.result(
    { ready: true, url, uiUrl, rootFingerprint, trustDomain, dev, ...(adminToken && { adminToken }) },
    () => [
      `inmesh registry is ready at ${url} (trust domain ${trustDomain}); its page: ${uiUrl}`,
      ...(adminToken ? [`admin token: ${adminToken}`] : []),
    ],
  )
  await stopped.signal
  await registry.close()
}

function optionsFrom(flags: RegistryFlags, { env }: CliContext): RegistryOptions {
  const { address, port, memory, trustDomain, lease, certificateLife, name, caDir, sealKey, formerSealKey } = flags
  const dev = flags.dev === true
  const dataDir = flags.dataDir ?? (memory === true ? undefined : defaultDataDirectory(env, dev))
  const given = {
    address,
    port: port === undefined ? undefined : numeric(port),
    dataDir,
    store: storeFrom(flags),
    memory: memory === true ? true : undefined,
    traffic: flags.traffic,
    dev,
    trustDomain,
    lease: lease === undefined ? undefined : numeric(lease),
    certificateLife: certificateLife === undefined ? undefined : numeric(certificateLife),
    names: name,
    advertise: flags.advertise,
    caDir,
    sealKey,
    formerSealKey,
    uiPort: flags.ui === undefined ? undefined : numeric(flags.ui),
    log: flags.logLevel !== 'silent',
  }
  // The registry validates it.
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as RegistryOptions
}

async function start(options: RegistryOptions): Promise<Registry> {
  const { startRegistry } = await import('../registry/index.ts')
  try {
    return await startRegistry(options)
  } catch (error) {
    if (!(error instanceof OptionsError)) throw error
    const messages = error.issues.map(({ path, message }) => {
      const whole = FLAGS[path.join('.')]
      const [option, ...rest] = path
      return describeIssue({
        path: whole === undefined ? [FLAGS[String(option)] ?? String(option), ...rest] : [whole],
        message,
      })
    })
    throw invalidUsage(messages.join('; '))
  }
}
