// The test service as @grpc/proto-loader reads it from our own proto.
'use strict'
const path = require('node:path')
const grpc = require('@grpc/grpc-js')
const protoLoader = require('@grpc/proto-loader')

const definition = protoLoader.loadSync(
  path.join(__dirname, '..', '..', 'proto', 'microd', 'testing', 'wire', 'interop.proto'),
  { keepCase: true, defaults: true }
)
const { TestService, UnimplementedService } = grpc.loadPackageDefinition(definition).grpc.testing

module.exports = { grpc, TestService, UnimplementedService }
