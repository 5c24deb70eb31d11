// Plays the interop cases with grpc-js: node interop_client.js --target HOST:PORT [--metadata NAME=VALUE]... [--no-probe] [CASE]...
// Prints one JSON object: what went wrong by case, or null.
'use strict'
const assert = require('node:assert')
const { parseArgs } = require('node:util')
const { grpc, TestService, UnimplementedService } = require('./interop_service')

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    target: { type: 'string' },
    metadata: { type: 'string', multiple: true, default: [] },
    'no-probe': { type: 'boolean', default: false },
  },
})
const PROBE = !values['no-probe']
const NO_COMPRESS = 2
const limits = { 'grpc.max_receive_message_length': -1 }
const gzip = { 'grpc.default_compression_algorithm': 2, ...limits }
const credentials = grpc.credentials.createInsecure()
const plain = new TestService(values.target, credentials, limits)
const packed = new TestService(values.target, credentials, gzip)
const nobody = new UnimplementedService(values.target, credentials)

const bytes = (size) => ({ body: Buffer.alloc(size) })
const code = grpc.status

function metadata(extra = {}) {
  const made = new grpc.Metadata()
  for (const pair of values.metadata) {
    const at = pair.indexOf('=')
    made.add(pair.slice(0, at), pair.slice(at + 1))
  }
  for (const [name, value] of Object.entries(extra)) made.add(name, value)
  return made
}

// A unary call: {error, reply, initial, status}.
function call(client, method, request, { extra, options = {} } = {}) {
  return new Promise((resolve) => {
    const seen = {}
    const settle = () => {
      if ('status' in seen && 'answered' in seen) resolve(seen)
    }
    const made = client[method](request, metadata(extra), options, (error, reply) => {
      Object.assign(seen, { error, reply, answered: true })
      settle()
    })
    made.on('metadata', (initial) => { seen.initial = initial })
    made.on('status', (status) => { seen.status = status; settle() })
  })
}

// A streaming call with its replies in a queue.
class Conversation {
  constructor(start) {
    this.replies = []
    this.waiting = []
    this.reply = null
    this.call = start((error, reply) => { this.reply = reply })
    this.ending = new Promise((resolve) => this.call.on('status', resolve))
    this.call.on('metadata', (initial) => { this.initial = initial })
    this.call.on('error', () => {})
    this.call.on('data', (reply) => this.put(reply))
    this.call.on('status', () => this.put(null))
  }
  put(reply) {
    const next = this.waiting.shift()
    if (next) next(reply)
    else this.replies.push(reply)
  }
  receive() {
    if (this.replies.length) return Promise.resolve(this.replies.shift())
    return new Promise((resolve) => this.waiting.push(resolve))
  }
  send(message) {
    return new Promise((resolve) => this.call.write(message, resolve))
  }
  sendPlain(message) {
    this.call.call.sendMessageWithContext({ flags: NO_COMPRESS }, message)
  }
}
const duplex = (options = {}, extra) => new Conversation(() => plain.FullDuplexCall(metadata(extra), options))
const upload = (client) => new Conversation((done) => client.StreamingInputCall(metadata(), done))
const question = (size, body) => ({ response_parameters: [{ size }], payload: bytes(body) })

function ok(outcome) {
  assert.ifError(outcome.error)
  return outcome.reply
}
function sized(reply, size) {
  assert.ok(reply, 'a reply was due')
  assert.deepStrictEqual(reply.payload.body, Buffer.alloc(size))
}
async function finished(conversation) {
  assert.strictEqual(await conversation.receive(), null)
  const status = await conversation.ending
  assert.strictEqual(status.code, code.OK, status.details)
  return status
}
async function statusIs(conversation, wanted) {
  assert.strictEqual((await conversation.ending).code, wanted)
}
const big = (more = {}) => ({ response_size: 314159, payload: bytes(271828), ...more })

async function download(wanted) {
  const parameters = wanted.map(([size, compressed]) => (
    compressed === undefined ? { size } : { size, compressed: { value: compressed } }))
  const conversation = new Conversation(() => plain.StreamingOutputCall({ response_parameters: parameters }, metadata()))
  for (const [size] of wanted) sized(await conversation.receive(), size)
  await finished(conversation)
}

async function echoedStatus(message) {
  const response_status = { code: code.UNKNOWN, message }
  const outcome = await call(plain, 'UnaryCall', { response_status })
  assert.strictEqual(outcome.status.code, code.UNKNOWN)
  assert.strictEqual(outcome.status.details, message)
  return response_status
}

const INITIAL = 'x-grpc-test-echo-initial'
const TRAILING = 'x-grpc-test-echo-trailing-bin'
const ECHO = { [INITIAL]: 'test_initial_metadata_value', [TRAILING]: Buffer.from([0xab, 0xab, 0xab]) }
function echoed(initial, status) {
  assert.deepStrictEqual(initial.get(INITIAL), [ECHO[INITIAL]])
  assert.deepStrictEqual(status.metadata.get(TRAILING), [ECHO[TRAILING]])
}

const cases = {
  async empty_unary() { ok(await call(plain, 'EmptyCall', {})) },
  async large_unary() { sized(ok(await call(plain, 'UnaryCall', big())), 314159) },
  async client_compressed_unary() {
    if (PROBE) {
      const probe = await call(plain, 'UnaryCall', big({ expect_compressed: { value: true } }))
      assert.strictEqual(probe.status.code, code.INVALID_ARGUMENT)
    }
    sized(ok(await call(packed, 'UnaryCall', big({ expect_compressed: { value: true } }))), 314159)
    sized(ok(await call(plain, 'UnaryCall', big({ expect_compressed: { value: false } }))), 314159)
  },
  async server_compressed_unary() {
    for (const value of [true, false]) {
      sized(ok(await call(plain, 'UnaryCall', big({ response_compressed: { value } }))), 314159)
    }
  },
  async client_streaming() {
    const conversation = upload(plain)
    for (const size of [27182, 8, 1828, 45904]) await conversation.send({ payload: bytes(size) })
    conversation.call.end()
    await finished(conversation)
    assert.strictEqual(conversation.reply.aggregated_payload_size, 74922)
  },
  async client_compressed_streaming() {
    const first = { payload: bytes(27182), expect_compressed: { value: true } }
    if (PROBE) {
      const probe = upload(packed)
      probe.sendPlain(first)
      probe.call.end()
      await statusIs(probe, code.INVALID_ARGUMENT)
    }
    const conversation = upload(packed)
    await conversation.send(first)
    conversation.sendPlain({ payload: bytes(45904), expect_compressed: { value: false } })
    conversation.call.end()
    await finished(conversation)
    assert.strictEqual(conversation.reply.aggregated_payload_size, 73086)
  },
  async server_streaming() { await download([[31415], [9], [2653], [58979]]) },
  async server_compressed_streaming() { await download([[31415, true], [92653, false]]) },
  async ping_pong() {
    const conversation = duplex()
    for (const [size, body] of [[31415, 27182], [9, 8], [2653, 1828], [58979, 45904]]) {
      await conversation.send(question(size, body))
      sized(await conversation.receive(), size)
    }
    conversation.call.end()
    await finished(conversation)
  },
  async empty_stream() {
    const conversation = duplex()
    conversation.call.end()
    await finished(conversation)
  },
  async timeout_on_sleeping_server() {
    const conversation = duplex({ deadline: Date.now() + 1 })
    conversation.call.write({ payload: bytes(27182) })
    await statusIs(conversation, code.DEADLINE_EXCEEDED)
  },
  async cancel_after_begin() {
    const conversation = upload(plain)
    conversation.call.cancel()
    await statusIs(conversation, code.CANCELLED)
  },
  async cancel_after_first_response() {
    const conversation = duplex()
    await conversation.send(question(31415, 27182))
    sized(await conversation.receive(), 31415)
    conversation.call.cancel()
    await statusIs(conversation, code.CANCELLED)
  },
  async custom_metadata() {
    const outcome = await call(plain, 'UnaryCall', big(), { extra: ECHO })
    ok(outcome)
    echoed(outcome.initial, outcome.status)
    const conversation = duplex({}, ECHO)
    await conversation.send(question(314159, 271828))
    conversation.call.end()
    sized(await conversation.receive(), 314159)
    echoed(conversation.initial, await finished(conversation))
  },
  async status_code_and_message() {
    const response_status = await echoedStatus('test status message')
    const conversation = duplex()
    conversation.call.write({ response_status })
    conversation.call.end()
    const status = await conversation.ending
    assert.strictEqual(status.code, code.UNKNOWN)
    assert.strictEqual(status.details, 'test status message')
  },
  async special_status_message() {
    await echoedStatus('\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP \u{1f608}\t\n')
  },
  async unimplemented_method() {
    assert.strictEqual((await call(plain, 'UnimplementedCall', {})).status.code, code.UNIMPLEMENTED)
  },
  async unimplemented_service() {
    assert.strictEqual((await call(nobody, 'UnimplementedCall', {})).status.code, code.UNIMPLEMENTED)
  },
}

async function main() {
  const outcome = {}
  for (const name of positionals.length ? positionals : Object.keys(cases)) {
    const limit = new Promise((_, reject) => setTimeout(reject, 20000, new Error('no end after 20 s')).unref())
    try {
      await Promise.race([cases[name](), limit])
      outcome[name] = null
    } catch (error) {
      outcome[name] = String(error)
    }
  }
  console.log(JSON.stringify(outcome))
  process.exit(0)
}
main()
