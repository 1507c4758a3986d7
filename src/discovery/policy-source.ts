/**
 * Pushes the policy document of a service. The registry is one policy source; files can be another.
 */

export interface PolicySource {
  /**
   * Pushes the document of `service` to `listener`: before it returns if it is known, and after
   * each change. `mesh` is the service whose document holds the defaults of all.
   *
   * - Identity: a pushed object is immutable, and an equal document keeps the same `policy` object.
   *   Resolved policies and compiled stacks are cached by it: a new object is compiled anew.
   * - Checked: `policy` has passed `checkPolicyDocument`.
   * - In force: the listener takes over before it returns. It throws nothing.
   * - Order: if endpoints come with the document, the document is pushed first.
   * - Silence: a source that fails pushes nothing. The last document stays in force.
   *
   * Returns how to stop; after that nothing is pushed. A service has one listener at a time.
   */
  watchDocument(service: string, listener: (document: ServiceDocument) => void): () => void
}

/** The policy document of one service. Immutable. */
export interface ServiceDocument {
  /** As applied, or `null` if the service has none. */
  readonly policy: unknown
  /** Why the document that the source has is not in force as it is. */
  readonly policyIssue?: string | undefined
  /** `policy` is the readable part of a document, because no good one came before it. */
  readonly partial?: boolean
}
