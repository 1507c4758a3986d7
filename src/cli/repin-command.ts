/** `inmesh token repin`: after a rotation of the root, the same token with the root in use. */
import { X509Certificate } from 'node:crypto'
import type { Command } from 'commander'
import { formatToken, parseToken, rootFingerprint } from '../identity/join-token.ts'
import { type ConnectionFlags, findUrl, givenToken, withConnection } from './connection.ts'
import { withExample } from './examples.ts'
import { EXIT, Failure } from './failure.ts'
import { RegistryApi } from './registry-api.ts'
import { type CliContext, Terminal } from './terminal.ts'

export function addRepinCommand(token: Command, surroundings: CliContext): void {
  const command = withConnection(
    token
      .command('repin')
      .description(
        'Print a token with the fingerprint of the root in use. Possible until the root it has is withdrawn.',
      )
      .argument('[token]', 'a join or admin token; the one of the connection if left out'),
  )
  withExample(command, 'inmesh token repin', 'inmesh token repin "$INMESH_JOIN_TOKEN"')
  command.action(async (given: string | undefined, flags: ConnectionFlags) => {
    const terminal = new Terminal(surroundings, flags.json === true)
    const { env } = surroundings
    const found = parseToken(given ?? (await givenToken(env, flags)) ?? '')
    if (found === undefined) {
      const message = 'expected a token: as argument, by --token, INMESH_ADMIN_TOKEN or --data-dir'
      throw new Failure(EXIT.invalid, 'invalid-token', message)
    }
    // Verified by the root that the token has, and without its secret.
    const tell = (text: string): void => terminal.note(text)
    const url = await findUrl(env, flags, tell)
    const api = new RegistryApi({ url, token: undefined, pin: found.fingerprint }, tell)
    const { roots } = await api.get<{ roots: string[] }>('/v1/bundle')
    const pins = roots.map((root) => rootFingerprint(new X509Certificate(root)))
    const [fingerprint] = pins
    if (fingerprint === undefined || !pins.includes(found.fingerprint)) {
      throw new Failure(EXIT.failed, 'invalid-token', 'the root that the token has is not one of this registry')
    }
    const text = formatToken({ ...found, fingerprint })
    const changed = fingerprint !== found.fingerprint
    terminal.result({ token: text, pin: fingerprint, changed }, () => [text])
    if (!changed) terminal.note('it has the root in use already')
  })
}
