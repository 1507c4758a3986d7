/** `inmesh ca`: the certificate authority of a mesh, its rotation, and offline roots. */
import type { Command } from 'commander'
import { oneOf, text } from '../options/fields.ts'
import { duration } from '../options/quantities.ts'
import type { AuthorityStatus } from '../registry/ca/authority-status.ts'
import { statusLines } from './ca-status.ts'
import {
  type CommonFlags,
  type ConnectionFlags,
  connect,
  jsonOption,
  refuseWith,
  withConnection,
} from './connection.ts'
import { withExample } from './examples.ts'
import { invalidUsage } from './failure.ts'
import { numeric, parsed } from './flag-values.ts'
import { writeOut } from './out-file.ts'
import { type CliContext, Terminal } from './terminal.ts'

const DAY_MS = 86_400_000
const TRUST_DOMAIN = text("lower-case letters, digits, '.', '-' and '_'", /^[a-z0-9._-]+$/, 255)
const ROOT_LIFE = duration({ min: DAY_MS, max: 36_500 * DAY_MS })
const INTERMEDIATE_LIFE = duration({ min: 3_600_000, max: 3_650 * DAY_MS })
const DEFAULT_TRUST_DOMAIN = 'inmesh.local'
const WHAT = oneOf(['root', 'intermediate', 'tokens'])

interface OutFlags extends ConnectionFlags {
  readonly out?: string
}

export function addCaCommands(program: Command, surroundings: CliContext): void {
  const group = program
    .command('ca')
    .description('The certificate authority: who signs, how far a rotation is, and roots that are kept offline.')
  withExample(group, 'inmesh ca status', 'inmesh ca rotate root')
  addStatus(group, surroundings)
  addRotate(group, surroundings)
  addInit(group, surroundings)
  addCsr(group, surroundings)
  addSign(group, surroundings)
  addImport(group, surroundings)
}

function addStatus(group: Command, surroundings: CliContext): void {
  const status = withConnection(
    group.command('status').description('Show authorities with their ends, rotations under way, and who is behind.'),
  )
  withExample(status, 'inmesh ca status --json')
  status.action(async (flags: ConnectionFlags) => {
    const { api, terminal } = await connect(surroundings, flags)
    const answer = await api.get<AuthorityStatus>('/v1/ca')
    terminal.result(answer, () => statusLines(answer))
  })
}

function addRotate(group: Command, surroundings: CliContext): void {
  const rotate = withConnection(
    group
      .command('rotate')
      .description('Replace an authority or the token key, without a lost call: published, then used, then withdrawn.')
      .argument('<what>', "'root' (with a new intermediate), 'intermediate' or 'tokens'", parsed(WHAT))
      .option('--force', 'end the stage that is under way at once, although processes are behind')
      .option('--cancel', 'withdraw what is published and signs nothing yet'),
  )
  withExample(rotate, 'inmesh ca rotate root', 'inmesh ca rotate tokens', 'inmesh ca rotate root --force')
  rotate.action(async (what: string, { force, cancel, ...flags }: RotateFlags) => {
    if (force === true && cancel === true) {
      throw invalidUsage('--force excludes --cancel; give one of the two')
    }
    const { api, terminal } = await connect(surroundings, flags)
    const body = { what, do: force === true ? 'force' : cancel === true ? 'cancel' : 'begin' }
    const answer = await api.call<AuthorityStatus>('POST', '/v1/ca/rotate', body)
    terminal.result(answer, () => statusLines(answer))
  })
}

interface RotateFlags extends ConnectionFlags {
  readonly force?: boolean
  readonly cancel?: boolean
}

function addInit(group: Command, surroundings: CliContext): void {
  const init = group
    .command('init')
    .description('Make a root in a directory, to be kept offline: root.key (mode 0600) and root.pem.')
    .requiredOption('--dir <dir>', 'where the root is kept; one that is there is never overwritten')
    .option(
      '--trust-domain <name>',
      'the name of the mesh in all identities',
      parsed(TRUST_DOMAIN),
      DEFAULT_TRUST_DOMAIN,
    )
    .option('--life <duration>', 'how long it is good for (default: 3650d)', parsed(ROOT_LIFE, numeric))
    .addOption(jsonOption())
  withExample(init, 'inmesh ca init --dir /media/offline/root --trust-domain shop.example')
  init.action(
    async ({ dir, trustDomain, life, json }: CommonFlags & { dir: string; trustDomain: string; life?: number }) => {
      const { createRoot } = await import('./ca-directory.ts')
      const { certificate } = createRoot(dir, trustDomain, life ?? 3_650 * DAY_MS)
      new Terminal(surroundings, json === true).result({ dir, trustDomain, certificate }, () => [
        `root of ${trustDomain}: ${certificate}; keep ${dir} offline`,
      ])
    },
  )
}

function addCsr(group: Command, surroundings: CliContext): void {
  const csr = withConnection(
    group
      .command('csr')
      .description('A signing request for an intermediate, whose key stays in the registry, or in --dir.')
      .option('--dir <dir>', 'make the key in this directory, for `inmesh registry --ca-dir`')
      .option('--trust-domain <name>', `of the key in --dir (default: ${DEFAULT_TRUST_DOMAIN})`, parsed(TRUST_DOMAIN))
      .option('--out <file>', 'write the request there and not to stdout'),
  )
  withExample(csr, 'inmesh ca csr --out intermediate.csr', 'inmesh ca csr --dir /etc/inmesh/ca --out intermediate.csr')
  csr.action(async ({ dir, trustDomain, out, ...flags }: OutFlags & { dir?: string; trustDomain?: string }) => {
    if (dir !== undefined) refuseWith('--dir', flags)
    else if (trustDomain !== undefined) {
      throw invalidUsage('--trust-domain is for a --dir; a registry has its own')
    }
    const terminal = new Terminal(surroundings, flags.json === true)
    const request =
      dir === undefined
        ? (
            await (
              await connect(surroundings, flags)
            ).api.call<{ csr: string }>('POST', '/v1/ca/csr', { role: 'intermediate' })
          ).csr
        : (await (await import('./ca-directory.ts')).createRequest(dir, trustDomain ?? DEFAULT_TRUST_DOMAIN)).csr
    writeOut(terminal, { csr: request }, request, out)
  })
}

function addSign(group: Command, surroundings: CliContext): void {
  const sign = group
    .command('sign')
    .description('Sign the request of an intermediate with an offline root; prints its chain, the root last.')
    .argument('<csr>', 'the file of the request')
    .requiredOption('--dir <dir>', 'the directory of `inmesh ca init`')
    .option(
      '--life <duration>',
      'how long the intermediate is good for (default: 365d)',
      parsed(INTERMEDIATE_LIFE, numeric),
    )
    .option('--out <file>', 'write the chain there and not to stdout')
    .addOption(jsonOption())
  withExample(sign, 'inmesh ca sign intermediate.csr --dir /media/offline/root --out chain.pem')
  sign.action(
    async (file: string, { dir, life, out, json }: CommonFlags & { dir: string; life?: number; out?: string }) => {
      const { readText, signRequest } = await import('./ca-directory.ts')
      const chain = signRequest(dir, readText(file, 'the signing request'), life ?? 365 * DAY_MS)
      writeOut(new Terminal(surroundings, json === true), { chain }, chain, out)
    },
  )
}

function addImport(group: Command, surroundings: CliContext): void {
  const command = withConnection(
    group
      .command('import')
      .description('Publish an intermediate that was signed elsewhere, then use it; or install it in --dir.')
      .argument('<chain>', 'the file of its chain: the intermediate first, the root last')
      .option('--dir <dir>', 'install it beside its key in this directory, for `inmesh registry --ca-dir`'),
  )
  withExample(command, 'inmesh ca import chain.pem', 'inmesh ca import chain.pem --dir /etc/inmesh/ca')
  command.action(async (file: string, { dir, ...flags }: ConnectionFlags & { dir?: string }) => {
    if (dir !== undefined) refuseWith('--dir', flags)
    const { asChainFailure, installChain, readText } = await import('./ca-directory.ts')
    const chain = readText(file, 'the chain')
    const terminal = new Terminal(surroundings, flags.json === true)
    if (dir !== undefined) {
      try {
        const { id } = installChain(dir, chain, undefined)
        terminal.result({ id, dir }, () => [`intermediate ${id} is in ${dir}; a registry with --ca-dir takes it over`])
      } catch (error) {
        throw asChainFailure(error)
      }
      return
    }
    const { api } = await connect(surroundings, flags)
    const { id } = await api.call<{ id: string }>('POST', '/v1/ca/import', { chain })
    terminal.result({ id, published: true }, () => [
      `intermediate ${id} is published; it signs when every process trusts it: inmesh ca status`,
    ])
  })
}
