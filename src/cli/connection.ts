/**
 * The connection flags of commands, and how they resolve: flag, then variable, then the file
 * `admin-token` in the data directory. For a registry on loopback, the default data directory is
 * tried too.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { parseToken } from '../identity/join-token.ts'
import { withoutPassword } from '../options/fields.ts'
import { ADMIN_TOKEN_FILE, defaultDataDirectory } from './data-directory.ts'
import { EXIT, Failure, invalidUsage } from './failure.ts'
import { firstReachable } from './first-reachable.ts'
import { type Tell, tellIfSlow } from './patience.ts'
import { isLoopbackUrl, RegistryApi } from './registry-api.ts'
import { type CliContext, Terminal } from './terminal.ts'

export const DEFAULT_REGISTRY = 'https://127.0.0.1:7400'

export interface CommonFlags {
  readonly json?: boolean
}

export interface ConnectionFlags extends CommonFlags {
  readonly registry?: string
  readonly token?: string
  readonly dataDir?: string
}

export function jsonOption(): Option {
  return new Option('--json', 'print JSON: the result on stdout, an error on stderr')
}

/** Adds `--registry`, `--token`, `--data-dir` and `--json`. */
export function withConnection(command: Command): Command {
  return command
    .option(
      '--registry <url>',
      `address of the registry, or several by commas (INMESH_REGISTRY; default ${DEFAULT_REGISTRY})`,
    )
    .option('--token <token>', 'admin token (INMESH_ADMIN_TOKEN); a --dev registry needs none')
    .option('--data-dir <dir>', "the registry's data directory, to read the admin token from")
    .addOption(jsonOption())
}

/** @throws Failure if a flag of a connection is given with `flag`, which needs none */
export function refuseWith(flag: string, { registry, token, dataDir }: ConnectionFlags): void {
  const given = Object.entries({ '--registry': registry, '--token': token, '--data-dir': dataDir })
  const [extra] = given.find(([, value]) => value !== undefined) ?? []
  if (extra === undefined) return
  throw invalidUsage(`${flag} excludes ${extra}; give one of the two`)
}

/** The settings of a connection. @throws Failure naming the flag that is wrong or missing */
export async function connect(
  surroundings: CliContext,
  flags: ConnectionFlags,
): Promise<{ api: RegistryApi; terminal: Terminal }> {
  const terminal = new Terminal(surroundings, flags.json === true)
  const tell: Tell = (text) => terminal.note(text)
  const url = await findUrl(surroundings.env, flags, tell)
  const given = await givenToken(surroundings.env, flags)
  const found = given === undefined && isLoopbackUrl(url) ? await localToken(surroundings.env) : undefined
  const address = { url, token: given ?? found, tokenIsGuess: given === undefined }
  return { api: new RegistryApi(address, tell), terminal }
}

/** The first registry of the flags that takes a connection. */
export async function findUrl(env: CliContext['env'], flags: ConnectionFlags, tell: Tell): Promise<URL> {
  const urls = findUrls(env, flags)
  const origins = urls.map(({ origin }) => origin).join(', ')
  return await tellIfSlow(tell, `a registry that takes connections: ${origins}`, firstReachable(urls))
}

/** All registries of the flags. @throws Failure naming the flag or variable that is wrong */
export function findUrls(env: CliContext['env'], flags: ConnectionFlags): URL[] {
  const [name, given] =
    flags.registry !== undefined
      ? ['--registry', flags.registry]
      : env.INMESH_REGISTRY
        ? ['INMESH_REGISTRY', env.INMESH_REGISTRY]
        : ['', DEFAULT_REGISTRY]
  return given.split(',').map((one) => readUrl(name, one.trim()))
}

function readUrl(name: string, text: string): URL {
  const url = URL.parse(text)
  if (url !== null && /^https?:$/.test(url.protocol) && url.pathname === '/' && url.username === '') return url
  const wanted = `an address such as ${DEFAULT_REGISTRY}`
  const got = JSON.stringify(withoutPassword(text))
  throw invalidUsage(`${name}: expected ${wanted}, got ${got}`)
}

export async function givenToken(env: CliContext['env'], flags: ConnectionFlags): Promise<string | undefined> {
  if (flags.token !== undefined) return flags.token
  if (env.INMESH_ADMIN_TOKEN) return env.INMESH_ADMIN_TOKEN
  if (flags.dataDir === undefined) return undefined
  const file = join(flags.dataDir, ADMIN_TOKEN_FILE)
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (error) {
    const why = (error as Error).message
    throw new Failure(EXIT.invalid, 'token-missing', `cannot read the admin token from ${file}: ${why}`)
  }
}

/** Of a registry that was started on this machine without `--data-dir`. */
async function localToken(env: CliContext['env']): Promise<string | undefined> {
  try {
    const text = (await readFile(join(defaultDataDirectory(env, false), ADMIN_TOKEN_FILE), 'utf8')).trim()
    return parseToken(text)?.kind === 'admin' ? text : undefined
  } catch {
    // There is none, or it is another user's. A --dev registry needs none.
    return undefined
  }
}
