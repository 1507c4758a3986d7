/** The type of grpc-js's client interceptors, for applications with and without grpc-js. */

// The comment that silences the missing module must be the last line above, also in the emitted
// declaration: applications without grpc-js check our types, too, and find `any` here. Typedoc
// reads no comment of this form.
/*!
 biome-ignore lint/suspicious/noTsIgnore: there is no error to expect where grpc-js is installed
 * @ts-ignore where grpc-js is not installed */
export type GrpcInterceptor = import('@grpc/grpc-js').Interceptor
