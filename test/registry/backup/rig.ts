/** Backups of made-up states, in a directory of the test. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createAuthority } from '../../../src/identity/certificate.ts'
import { exportState } from '../../../src/registry/backup/export-state.ts'
import { readBackup } from '../../../src/registry/backup/read-backup.ts'
import type { BackupSecret } from '../../../src/registry/backup/secret.ts'
import { writeBackup } from '../../../src/registry/backup/write-backup.ts'
import { MemoryStorage } from '../../../src/registry/storage/memory.ts'
import type { Operation, Storage } from '../../../src/registry/storage/storage.ts'

export const KEY: BackupSecret = { kind: 'key', key: randomBytes(32) }
export const TRUST_DOMAIN = 'mesh.test'
export const ORIGIN = { trustDomain: TRUST_DOMAIN, createdAt: 1_780_000_000_000, version: '0.1.0', engine: 'memory' }

export const AUTHORITY: Operation = {
  key: 'ca/root',
  value: JSON.stringify({
    ...createAuthority({ trustDomain: TRUST_DOMAIN, notBefore: Date.now() - 1_000, notAfter: Date.now() + 3_600_000 }),
    sequence: 1,
  }),
}

export class BackupRig {
  readonly directory = mkdtempSync(join(tmpdir(), 'inmesh-backup-'))

  path(name: string): string {
    return join(this.directory, name)
  }

  async storage(operations: readonly Operation[] = []): Promise<MemoryStorage> {
    const storage = new MemoryStorage()
    await storage.transact([], [AUTHORITY, ...operations])
    return storage
  }

  write(storage: Storage, name: string, secret = KEY, replace = false) {
    return writeBackup({ origin: ORIGIN, lines: exportState(storage) }, { path: this.path(name), secret, replace })
  }

  read(name: string, secret = KEY) {
    return readBackup(this.path(name), secret)
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true })
  }
}
