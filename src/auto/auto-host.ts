/** What the parts of `inmesh/auto` share. */
import type { ProcessMesh } from './process-mesh.ts'
import type { Report } from './report.ts'
import type { ServiceHosts } from './service-hosts.ts'
import type { AutoSettings } from './settings.ts'

export interface AutoHost {
  readonly settings: AutoSettings
  readonly report: Report
  readonly mesh: ProcessMesh
  readonly services: ServiceHosts
}
