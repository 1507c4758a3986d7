/**
 * Set-up of test runs against the oldest grpc-js that we take: whoever asks for `@grpc/grpc-js`
 * gets that one, by import and by require.
 */
import { registerHooks } from 'node:module'

registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context)
    return { ...found, url: found.url.replace('/node_modules/@grpc/grpc-js/', '/node_modules/grpc-js-oldest/') }
  },
})
