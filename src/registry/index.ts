/**
 * The public half of the registry: `inmesh/registry`. Starts one inside a process, such as a test
 * or the command.
 */
export type { Duration } from '../options/duration.ts'
export { type Issue, OptionsError } from '../options/fields.ts'
export { type ApiCode, ApiError } from './api/error.ts'
export type { RegistryOptions } from './options.ts'
export type { PolicyChange, StoredPolicy } from './policy-change.ts'
export { startRegistry } from './registry.ts'
export type { Registry } from './running-registry.ts'
export type { SealKeySource } from './seal/key-source.ts'
export { StorageError } from './storage/errors.ts'
export type { EtcdStoreOptions } from './storage/etcd/options.ts'
