/** The taps of one mesh, as its registry asks for them. */
import type { RegistryObserver } from '../discovery/registry/observer.ts'
import { pathPattern } from '../discovery/tap/message.ts'
import { pathHolds } from '../routing/first-match.ts'
import type { MeshContext } from './context.ts'
import type { Membership } from './membership.ts'

type Asked = Parameters<NonNullable<RegistryObserver['tap']>>[0]

export function tapCalls({ taps }: MeshContext, membership: Membership, message: Asked): void {
  if (message.type === 'untap') {
    taps.end(message.tap)
    return
  }
  const pattern = message.path === undefined ? undefined : pathPattern(message.path)
  taps.begin(message, (path) => pattern === undefined || pathHolds(pattern, path), {
    get isReady() {
      return membership.registry?.isReady === true
    },
    send: (tapped) => membership.registry?.tellTapped(tapped),
  })
}
