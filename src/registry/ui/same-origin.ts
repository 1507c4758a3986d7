/** Refuses what another page makes a browser send: forms, images, scripts, frames and `fetch`. */

import { checkOrigin } from '../access/access.ts'
import { ApiError } from '../api/error.ts'
import type { IncomingRequest } from '../api/request.ts'

/** No form sets it, and another origin's script only after a preflight, which nothing answers. */
export const PAGE_HEADER = 'x-inmesh-ui'

/** @throws ApiError `origin-refused` */
export function checkSameOrigin(request: IncomingRequest): void {
  checkOrigin(request)
  const { headers } = request
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin') {
    throw new ApiError('origin-refused', 'a page of another origin may not ask anything here')
  }
  if (headers[PAGE_HEADER] !== '1') {
    throw new ApiError('origin-refused', `the page's requests have the header '${PAGE_HEADER}: 1'`)
  }
}
