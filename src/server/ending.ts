/** How a server in the mesh ends, when its application asks. */
export interface Ending {
  /** Leaves the mesh without losing a request. Never rejects. */
  close(): Promise<void>
  /** Cancels what runs. */
  end(): Promise<unknown>
}
