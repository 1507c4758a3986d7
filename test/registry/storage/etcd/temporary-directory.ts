import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Removed by the last of `closers`. */
export function temporaryDirectory(closers: (() => unknown)[]): string {
  const path = mkdtempSync(join(tmpdir(), 'inmesh-etcd-test-'))
  closers.push(() => rmSync(path, { recursive: true, force: true }))
  return path
}
