/** The head of a request, as routes and balancers read it before the request is sent. */

export interface RequestHead {
  /** `GET`, or `/shop.Inventory/Get`. */
  readonly method: string
  /** Begins with `/`; of an HTTP request with its query. */
  readonly path: string
  /**
   * The value of a header, by its name in lower case: all its lines, joined and without the spaces
   * and tabs around them.
   */
  header(name: string): string | undefined
}
