/** The part of the API that the page asks, below `/ui/api`, with the cookie of its session. */

export const PAGE_API = '/ui/api'

const SERVICE = '[a-z0-9-]{1,63}'

const MANIFEST = 'manifests/[A-Za-z0-9]{1,63}/[a-z0-9-]{1,63}/[a-z0-9.-]{1,253}'

const QUESTIONS: Readonly<Record<string, RegExp>> = {
  GET: new RegExp(
    `^/v1/(?:traffic/(?:graph|series|routes|instances|events|stream|certificates)|services|services/${SERVICE}|registry|registries|policies|policies/${SERVICE}(?:/history)?|manifests|${MANIFEST}/history|denials|ca|audit)$`,
  ),
  // Changes need the rights that they need elsewhere.
  POST: new RegExp(`^/v1/(?:policies/${SERVICE}/rollback|${MANIFEST}/rollback|services/${SERVICE}/release|explain)$`),
}

/** A page that was broken into makes no tokens, and takes no backup. */
export function mayAsk(method: string | undefined, path: string): boolean {
  return method !== undefined && Object.hasOwn(QUESTIONS, method) && QUESTIONS[method]!.test(path)
}
