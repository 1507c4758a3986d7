/** `inmesh/bundled/grpc`: gRPC in a bundle, whose copy of grpc-js inmesh then takes. */
import * as grpc from '@grpc/grpc-js'
import manifest from '@grpc/grpc-js/package.json' with { type: 'json' }
import { handInPackage } from '../../options/optional-peer.ts'

handInPackage('@grpc/grpc-js', grpc, manifest.version)
