/**
 * The part of etcd's gRPC API that a registry uses, with etcd's own names and numbers. It is data
 * and no file, so that it survives a bundler.
 */

/** `name: [number, type]`, or `[number, type, 'repeated']`. */
type Fields = Readonly<Record<string, readonly [number, string, 'repeated'?]>>

function message(fields: Fields, oneofs: Readonly<Record<string, readonly string[]>> = {}) {
  return {
    fields: Object.fromEntries(
      Object.entries(fields).map(([name, [id, type, rule]]) => [name, { id, type, ...(rule && { rule }) }]),
    ),
    oneofs: Object.fromEntries(Object.entries(oneofs).map(([name, oneof]) => [name, { oneof: [...oneof] }])),
  }
}

function values(...names: readonly string[]) {
  return { values: Object.fromEntries(names.map((name, i) => [name, i])) }
}

/** Methods whose messages bear their names. */
function service(kind: 'unary' | 'streams', ...names: readonly string[]) {
  const stream = kind === 'streams'
  const method = (name: string) => ({
    ...{ requestType: `${name}Request`, responseType: `${name}Response` },
    ...{ requestStream: stream, responseStream: stream },
  })
  return Object.fromEntries(names.map((name) => [name, method(name)]))
}

const HEADER = [1, 'ResponseHeader'] as const

const RPC = {
  ResponseHeader: message({
    cluster_id: [1, 'uint64'],
    member_id: [2, 'uint64'],
    revision: [3, 'int64'],
    raft_term: [4, 'uint64'],
  }),
  RangeRequest: message({
    key: [1, 'bytes'],
    range_end: [2, 'bytes'],
    limit: [3, 'int64'],
    revision: [4, 'int64'],
    serializable: [7, 'bool'],
    keys_only: [8, 'bool'],
    min_mod_revision: [10, 'int64'],
  }),
  RangeResponse: message({ header: HEADER, kvs: [2, 'mvccpb.KeyValue', 'repeated'], more: [3, 'bool'] }),
  PutRequest: message({ key: [1, 'bytes'], value: [2, 'bytes'], lease: [3, 'int64'] }),
  PutResponse: message({ header: HEADER }),
  DeleteRangeRequest: message({ key: [1, 'bytes'], range_end: [2, 'bytes'] }),
  DeleteRangeResponse: message({ header: HEADER, deleted: [2, 'int64'] }),
  RequestOp: message(
    {
      request_range: [1, 'RangeRequest'],
      request_put: [2, 'PutRequest'],
      request_delete_range: [3, 'DeleteRangeRequest'],
      request_txn: [4, 'TxnRequest'],
    },
    { request: ['request_range', 'request_put', 'request_delete_range', 'request_txn'] },
  ),
  ResponseOp: message(
    {
      response_range: [1, 'RangeResponse'],
      response_put: [2, 'PutResponse'],
      response_delete_range: [3, 'DeleteRangeResponse'],
      response_txn: [4, 'TxnResponse'],
    },
    { response: ['response_range', 'response_put', 'response_delete_range', 'response_txn'] },
  ),
  Compare: {
    ...message(
      {
        result: [1, 'CompareResult'],
        target: [2, 'CompareTarget'],
        key: [3, 'bytes'],
        mod_revision: [6, 'int64'],
        range_end: [64, 'bytes'],
      },
      { target_union: ['mod_revision'] },
    ),
    nested: {
      CompareResult: values('EQUAL', 'GREATER', 'LESS', 'NOT_EQUAL'),
      CompareTarget: values('VERSION', 'CREATE', 'MOD', 'VALUE', 'LEASE'),
    },
  },
  TxnRequest: message({
    compare: [1, 'Compare', 'repeated'],
    success: [2, 'RequestOp', 'repeated'],
    failure: [3, 'RequestOp', 'repeated'],
  }),
  TxnResponse: message({ header: HEADER, succeeded: [2, 'bool'], responses: [3, 'ResponseOp', 'repeated'] }),
  WatchRequest: message({ create_request: [1, 'WatchCreateRequest'] }, { request_union: ['create_request'] }),
  WatchCreateRequest: message({
    key: [1, 'bytes'],
    range_end: [2, 'bytes'],
    start_revision: [3, 'int64'],
    progress_notify: [4, 'bool'],
  }),
  WatchResponse: message({
    header: HEADER,
    watch_id: [2, 'int64'],
    created: [3, 'bool'],
    canceled: [4, 'bool'],
    compact_revision: [5, 'int64'],
    cancel_reason: [6, 'string'],
    events: [11, 'mvccpb.Event', 'repeated'],
  }),
  LeaseGrantRequest: message({ TTL: [1, 'int64'], ID: [2, 'int64'] }),
  LeaseGrantResponse: message({ header: HEADER, ID: [2, 'int64'], TTL: [3, 'int64'] }),
  LeaseRevokeRequest: message({ ID: [1, 'int64'] }),
  LeaseRevokeResponse: message({ header: HEADER }),
  LeaseKeepAliveRequest: message({ ID: [1, 'int64'] }),
  LeaseKeepAliveResponse: message({ header: HEADER, ID: [2, 'int64'], TTL: [3, 'int64'] }),
  StatusRequest: message({}),
  StatusResponse: message({
    header: HEADER,
    version: [2, 'string'],
    leader: [4, 'uint64'],
    raftAppliedIndex: [7, 'uint64'],
  }),
  AuthenticateRequest: message({ name: [1, 'string'], password: [2, 'string'] }),
  AuthenticateResponse: message({ header: HEADER, token: [2, 'string'] }),
  KV: { methods: service('unary', 'Range', 'Txn') },
  Watch: { methods: service('streams', 'Watch') },
  Lease: {
    methods: { ...service('unary', 'LeaseGrant', 'LeaseRevoke'), ...service('streams', 'LeaseKeepAlive') },
  },
  Maintenance: { methods: service('unary', 'Status') },
  Auth: { methods: service('unary', 'Authenticate') },
}

const KEY_VALUES = {
  KeyValue: message({
    key: [1, 'bytes'],
    create_revision: [2, 'int64'],
    mod_revision: [3, 'int64'],
    version: [4, 'int64'],
    value: [5, 'bytes'],
    lease: [6, 'int64'],
  }),
  Event: {
    ...message({ type: [1, 'EventType'], kv: [2, 'KeyValue'] }),
    nested: { EventType: values('PUT', 'DELETE') },
  },
}

/** For `fromJSON` of `@grpc/proto-loader`. */
export const PROTOCOL: object = { nested: { etcdserverpb: { nested: RPC }, mvccpb: { nested: KEY_VALUES } } }

/** How numbers and names arrive: 64-bit integers as text, names as etcd writes them. */
export const READING = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true } as const
