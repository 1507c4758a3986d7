/**
 * What one message, instance, service and session may hold. Registry and process import the same
 * table, so that each can read what the other accepts.
 */
export const LIMITS = Object.freeze({
  /** Of one line of the session, in bytes. */
  lineBytes: 4 * 1024 * 1024,
  /** Of the instances in each message of a snapshot that does not fit into one line. */
  partBytes: 1024 * 1024,
  /** Of all that one message holds besides instances: a policy document and some names. */
  headBytes: 512 * 1024,
  /** Of one policy document. */
  documentBytes: 256 * 1024,
  /** More endpoints than this in one service are refused. */
  instancesPerService: 10_000,
  /** Of all instances of a service as JSON. */
  bytesPerService: 32 * 1024 * 1024,
  /** Instances that one process registers. */
  instancesPerSession: 100,
  /** Services that a process calls by one protocol, at the same time. */
  destinations: 1_000,
  /** The destinations of both protocols, the process's own service and the document of the mesh. */
  watchesPerSession: 2 * 1_000 + 2,
  metadataEntries: 64,
  /** Characters. */
  metadataText: 512,
  instanceId: 128,
})
