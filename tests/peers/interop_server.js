// The test service on grpc-js: prints its port, serves until it is ended.
'use strict'
const { grpc, TestService } = require('./interop_service')

const INITIAL = 'x-grpc-test-echo-initial'
const TRAILING = 'x-grpc-test-echo-trailing-bin'

function echoMetadata(call) {
  const initial = call.metadata.get(INITIAL)
  if (initial.length) {
    const echoed = new grpc.Metadata()
    echoed.set(INITIAL, initial[0])
    call.sendMetadata(echoed)
  }
  const trailer = new grpc.Metadata()
  for (const value of call.metadata.get(TRAILING)) trailer.add(TRAILING, value)
  return trailer
}

const payload = (size) => ({ payload: { body: Buffer.alloc(size) } })
const wish = (request) => request.response_status && { code: request.response_status.code, details: request.response_status.message }

function replies(call, request) {
  const status = wish(request)
  if (status) return call.emit('error', status)
  for (const parameters of request.response_parameters) call.write(payload(parameters.size))
}

const handlers = {
  EmptyCall: (call, answer) => answer(null, {}),
  UnaryCall(call, answer) {
    const trailer = echoMetadata(call)
    answer(wish(call.request) || null, payload(call.request.response_size), trailer)
  },
  StreamingOutputCall(call) {
    replies(call, call.request)
    call.end(echoMetadata(call))
  },
  StreamingInputCall(call, answer) {
    let total = 0
    call.on('data', (request) => { total += request.payload.body.length })
    call.on('end', () => answer(null, { aggregated_payload_size: total }))
  },
  FullDuplexCall(call) {
    const trailer = echoMetadata(call)
    call.on('data', (request) => replies(call, request))
    call.on('end', () => call.end(trailer))
  },
  HalfDuplexCall(call) {
    const kept = []
    call.on('data', (request) => kept.push(request))
    call.on('end', () => { kept.forEach((request) => replies(call, request)); call.end() })
  },
}
const service = { ...TestService.service }
delete service.UnimplementedCall

const server = new grpc.Server()
server.addService(service, handlers)
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error
  console.log(port)
})
