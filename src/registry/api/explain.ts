/** Explains a request by the documents in force and the instances that are registered. */
import { addressKey } from '../../core/endpoint.ts'
import { explain, type ListedEndpoint } from '../../discovery/explain.ts'
import { checkExplainRequest } from '../../discovery/explain-request.ts'
import type { PolicyDocument } from '../../discovery/policy-document.ts'
import { OptionsError } from '../../options/fields.ts'
import type { ServiceEntry } from '../service-entry.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { invalid } from './error.ts'
import { readJson, sendJson } from './request.ts'

export async function explainRequest(context: ApiContext, { request, response }: ApiRequest): Promise<void> {
  const { state, clock, dev } = context
  const body = await readJson(request, clock)
  try {
    const asked = checkExplainRequest(body, 'explain')
    const explanation = explain(asked, {
      dev,
      // With the routes of its manifests.
      document: (service) => state.served.documentOf(service) as PolicyDocument | null,
      endpoints: (service) => {
        const entry = state.service(service)
        return entry?.known === true ? endpointsOf(entry) : undefined
      },
    })
    sendJson(response, 200, explanation)
  } catch (error) {
    if (error instanceof OptionsError) throw invalid('explain', error.issues)
    throw error
  }
}

function endpointsOf({ instances, overrides }: ServiceEntry): ListedEndpoint[] {
  return [...instances.values()].map(({ instance }) => {
    const disabled = overrides.get(addressKey(instance))?.disabled === true
    return { ...instance, shown: disabled ? 'disabled' : instance.state }
  })
}
