/** The messages of etcd's API, as proto-loader gives and takes them. 64-bit integers are text. */

export interface Header {
  readonly cluster_id: string
  readonly revision: string
  readonly raft_term: string
}

export interface KeyValue {
  readonly key: Buffer
  readonly value: Buffer
  readonly mod_revision: string
  readonly lease: string
}

export interface RangeRequest {
  readonly key: Buffer
  readonly range_end?: Buffer
  readonly limit?: number
  readonly revision?: number
  readonly serializable?: boolean
  readonly keys_only?: boolean
  readonly min_mod_revision?: number
}

export interface RangeResponse {
  readonly header: Header
  readonly kvs: readonly KeyValue[]
  readonly more: boolean
}

export interface CompareRequest {
  readonly key: Buffer
  readonly range_end?: Buffer
  readonly target: 'MOD'
  readonly result: 'EQUAL' | 'LESS'
  readonly mod_revision: number
}

export type RequestOp =
  | { readonly request_put: { readonly key: Buffer; readonly value: Buffer; readonly lease?: string } }
  | { readonly request_delete_range: { readonly key: Buffer } }
  | { readonly request_range: RangeRequest }
  | { readonly request_txn: TxnRequest }

export interface TxnRequest {
  readonly compare: readonly CompareRequest[]
  readonly success: readonly RequestOp[]
  readonly failure: readonly RequestOp[]
}

export interface TxnResponse {
  readonly header: Header
  readonly succeeded: boolean
  readonly responses: readonly {
    readonly response_range?: RangeResponse | null
    readonly response_txn?: TxnResponse | null
  }[]
}

export interface WatchRequest {
  readonly create_request: {
    readonly key: Buffer
    readonly range_end: Buffer
    readonly start_revision: number
    readonly progress_notify: boolean
  }
}

export interface WatchEvent {
  readonly type: 'PUT' | 'DELETE'
  readonly kv: KeyValue
}

export interface WatchResponse {
  readonly header: Header
  readonly created: boolean
  readonly canceled: boolean
  readonly compact_revision: string
  readonly cancel_reason: string
  readonly events: readonly WatchEvent[]
}

export interface StatusResponse {
  readonly header: Header
  readonly version: string
  readonly leader: string
  readonly raftAppliedIndex: string
}

/** Requests and answers by method. */
export interface Methods {
  readonly 'KV.Range': [RangeRequest, RangeResponse]
  readonly 'KV.Txn': [TxnRequest, TxnResponse]
  readonly 'Lease.LeaseGrant': [{ readonly ID: string; readonly TTL: number }, { readonly TTL: string }]
  readonly 'Lease.LeaseRevoke': [{ readonly ID: string }, object]
  readonly 'Maintenance.Status': [object, StatusResponse]
  readonly 'Auth.Authenticate': [{ readonly name: string; readonly password: string }, { readonly token: string }]
}

export interface Streams {
  readonly 'Watch.Watch': [WatchRequest, WatchResponse]
  readonly 'Lease.LeaseKeepAlive': [{ readonly ID: string }, { readonly ID: string; readonly TTL: string }]
}
