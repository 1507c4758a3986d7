/**
 * Whether only this process's user can read and replace a file or directory: a key that others can
 * read is no secret.
 */
import type { Stats } from 'node:fs'

const OTHERS = 0o077
/** Windows has no such bits. */
const CHECK_MODE = process.platform !== 'win32'

/**
 * Why what is at `path` is not private, with what to do; `undefined` if it is. `mode`: what it
 * should be, as `chmod` takes it.
 */
export function insecurePermissions(path: string, found: Stats, mode: '600' | '700'): string | undefined {
  if (!CHECK_MODE) return undefined
  const own = process.getuid?.()
  if (own !== undefined && found.uid !== own) {
    return `${path} belongs to user ${found.uid}, this process runs as ${own}; give it a separate directory`
  }
  if ((found.mode & OTHERS) === 0) return undefined
  const is = (found.mode & 0o777).toString(8).padStart(3, '0')
  return `${path} has mode ${is}, so others may read our private key; run 'chmod ${mode} ${path}' or choose another directory`
}

/**
 * Why the link at `path` may lead elsewhere tomorrow; `undefined` if only we, or the administrator,
 * can turn it.
 */
export function insecureLink(path: string, link: Stats): string | undefined {
  const own = process.getuid?.()
  if (own === undefined || link.uid === own || link.uid === 0) return undefined
  return `${path} is a link of user ${link.uid}, who may turn it elsewhere; give the directory that it leads to`
}
