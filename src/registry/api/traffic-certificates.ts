/** The API of when the certificates of processes end, those at the other registries included. */
import { readAnswers } from '../fleet/answer-checks.ts'
import { type CertificateHistogram, certificatesOf, histogramOf } from '../traffic/certificates.ts'
import { certificatesIn } from '../traffic/peer-answers.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { sendJson } from './request.ts'
import { trafficOf } from './traffic-local.ts'
import { CERTIFICATES_QUERY, readQuery } from './traffic-query.ts'

export interface CertificatesAnswer extends CertificateHistogram {
  /** Wall clock, ms. */
  readonly at: number
  readonly registries: readonly string[]
  readonly unreachable: readonly { readonly registry: string; readonly reason: string }[]
}

export async function sendCertificates(context: ApiContext, { response, query }: ApiRequest): Promise<void> {
  const { local } = readQuery(CERTIFICATES_QUERY, query)
  const { clock, fleet } = context
  const { id, traffic } = trafficOf(context)
  await traffic.work()
  const asked = local === '1' ? [] : await fleet.askPeers('/v1/traffic/local?kind=certificates')
  const { answered, unreachable } = readAnswers(asked, certificatesIn)
  const found = [...certificatesOf(traffic.processes.expected()), ...answered.flatMap(({ value }) => value)]
  const at = clock.wallNow()
  const answer: CertificatesAnswer = {
    at,
    ...histogramOf(found, at),
    registries: [id, ...answered.map(({ registry }) => registry)],
    unreachable,
  }
  sendJson(response, 200, answer)
}
