// Goes through the NATS protocol with npm's client, and prints what it saw as JSON. What nats_client.py says holds here, too.
'use strict';

const readline = require('node:readline');
const net = require('node:net');
const { connect, headers: newHeaders, StringCodec, Empty, Events } = require('nats');

const LIMIT = 10000;
const text = StringCodec();
const wanted = JSON.parse(process.argv[2]);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

function open(more = {}) {
  const { user, pass, auth_token: token } = wanted.options;
  const shown = token ? { token } : { user, pass };
  return connect({ servers: wanted.address, timeout: LIMIT, ...shown, ...more });
}

async function ask(what) {
  console.log(JSON.stringify({ do: what }));
  await lines.next();
}

function raised(error) {
  return `${error.name} ${error.code}: ${error.message}`;
}

async function attempt(act) {
  try {
    await act();
  } catch (error) {
    return raised(error);
  }
  return 'fine';
}

function within(promise, limit = LIMIT) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('too late')), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// What came to a subscription.
class Inbox {
  constructor() {
    this.messages = [];
    this.errors = [];
    this.waiting = [];
    this.callback = (error, message) => {
      if (error) this.errors.push(raised(error));
      else this.messages.push(message);
      this.waiting = this.waiting.filter(({ count, done }) => (this.messages.length < count ? true : done()));
    };
  }

  wait(count) {
    if (this.messages.length >= count) return Promise.resolve(this.bodies);
    return within(new Promise((done) => this.waiting.push({ count, done }))).then(() => this.bodies);
  }

  get bodies() {
    return this.messages.map((each) => text.decode(each.data));
  }

  get subjects() {
    return this.messages.map((each) => each.subject);
  }
}

// The kinds of what happens to a connection, from now on.
function watch(nc, events = []) {
  (async () => {
    for await (const status of nc.status()) events.push({ type: String(status.type), data: status.data });
  })();
  return events;
}

async function until(condition, limit = LIMIT) {
  const end = Date.now() + limit;
  while (!condition()) {
    if (Date.now() > end) throw new Error('too late');
    await new Promise((done) => setTimeout(done, 5));
  }
}

const steps = {
  async facts() {
    const nc = await open();
    const { info } = nc;
    const found = {
      version: info.version.split('.').length,
      max_payload: info.max_payload,
      client_id: info.client_id > 0,
      server: typeof nc.getServer(),
      closed: nc.isClosed(),
    };
    for (const name of ['headers', 'proto', 'auth_required', 'tls_required', 'ldm', 'client_ip', 'nonce', 'jetstream', 'connect_urls', 'cluster']) {
      found[name] = info[name] ?? null;
    }
    await nc.close();
    return { ...found, now: nc.isClosed() };
  },

  async 'in order'() {
    const nc = await open();
    const inbox = new Inbox();
    nc.subscribe('orders.new', inbox);
    for (let number = 0; number < 500; number += 1) nc.publish('orders.new', text.encode(String(number)));
    const bodies = await inbox.wait(500);
    await nc.close();
    return [bodies.every((body, number) => body === String(number)), inbox.subjects[0], inbox.messages[0].reply ?? null];
  },

  async wildcards() {
    const nc = await open();
    const inboxes = {};
    for (const pattern of ['w.*', 'w.>', 'w.*.z', '*.x', '>', 'w.x', 'w.x.>', '*.*.*.*']) {
      inboxes[pattern] = new Inbox();
      nc.subscribe(pattern, inboxes[pattern]);
    }
    for (const subject of ['w', 'w.x', 'w.x.z', 'w.x.y.z', 'v.x', 'w.end']) nc.publish(subject);
    await inboxes['>'].wait(6);
    await nc.drain();
    return Object.fromEntries(Object.entries(inboxes).map(([pattern, inbox]) => [pattern, inbox.subjects]));
  },

  async queues() {
    const pair = [await open(), await open()];
    const members = [new Inbox(), new Inbox(), new Inbox(), new Inbox()];
    members.forEach((inbox, place) => pair[place % 2].subscribe('jobs.*', { queue: 'workers', callback: inbox.callback }));
    const second = new Inbox();
    const everything = new Inbox();
    pair[1].subscribe('jobs.>', { queue: 'audit', callback: second.callback });
    pair[0].subscribe('jobs.a', everything);
    await pair[0].flush();
    await pair[1].flush();
    for (let number = 0; number < 200; number += 1) pair[0].publish('jobs.a', text.encode(String(number)));
    await everything.wait(200);
    await second.wait(200);
    await pair[0].drain();
    await pair[1].drain();
    const got = members.flatMap((inbox) => inbox.bodies.map(Number)).sort((a, b) => a - b);
    return [got.length === 200 && got.every((n, i) => n === i), members.every((inbox) => inbox.bodies.length > 0), second.bodies.length];
  },

  async requests() {
    const [nc, server] = [await open(), await open()];
    server.subscribe('ask.me', { callback: (_, message) => message.respond(text.encode(`re: ${text.decode(message.data)}`)) });
    server.subscribe('ask.many', {
      callback: (_, message) => {
        for (const word of ['one', 'two', 'three']) message.respond(text.encode(word));
      },
    });
    server.subscribe('ask.nobody', { callback: () => {} });
    await server.flush();
    const reply = await nc.request('ask.me', text.encode('hello'), { timeout: LIMIT });
    const noMux = await nc.request('ask.me', text.encode('alone'), { timeout: LIMIT, noMux: true });
    const numbers = [...Array(100).keys()];
    const all = await Promise.all(numbers.map((n) => nc.request('ask.me', text.encode(String(n)), { timeout: LIMIT })));
    const many = [];
    for await (const each of await nc.requestMany('ask.many', Empty, { strategy: 'count', maxMessages: 3, maxWait: LIMIT })) many.push(text.decode(each.data));
    const found = {
      reply: text.decode(reply.data),
      inbox: reply.subject.startsWith('_INBOX.'),
      'no mux': text.decode(noMux.data),
      all: all.every((each, n) => text.decode(each.data) === `re: ${n}`),
      many,
      'no responders': await attempt(() => nc.request('ask.none', Empty, { timeout: LIMIT })),
      'no responders, no mux': await attempt(() => nc.request('ask.none', Empty, { timeout: LIMIT, noMux: true })),
      silence: await attempt(() => nc.request('ask.nobody', Empty, { timeout: 200 })),
    };
    await nc.close();
    await server.close();
    return found;
  },

  async headers() {
    const nc = await open();
    const inbox = new Inbox();
    nc.subscribe('h', inbox);
    const send = (body, values, reply) => {
      const made = newHeaders();
      values.forEach(([name, value]) => made.append(name, value));
      nc.publish('h', text.encode(body), { headers: made, reply });
    };
    send('one', [['A', '1'], ['Content-Type', 'text/plain'], ['lower', 'x y z']]);
    send('', [['Empty-Body', 'yes']]);
    nc.publish('h', text.encode('none'));
    send('many', [['A', '1'], ['A', '2'], ['B', 'x'], ['A', '3'], ['a', '4']]);
    send('reply', [['A', 'ü']], 'h.reply');
    send('secret', [['Authorization', 'mine to give']]);
    await inbox.wait(6);
    const shown = inbox.messages.map((each) => [
      text.decode(each.data),
      each.reply ?? null,
      each.headers ? each.headers.keys().map((name) => [name, each.headers.values(name)]) : null,
    ]);
    await nc.close();
    return shown;
  },

  async unsubscribing() {
    const nc = await open();
    const [few, none, other] = [new Inbox(), new Inbox(), new Inbox()];
    nc.subscribe('u', few).unsubscribe(3);
    nc.subscribe('u', none).unsubscribe();
    const counted = new Inbox();
    nc.subscribe('u', { max: 2, callback: counted.callback });
    nc.subscribe('u', other);
    for (let number = 0; number < 6; number += 1) nc.publish('u', text.encode(String(number)));
    await other.wait(6);
    await nc.flush();
    await nc.close();
    return [few.bodies, none.bodies, counted.bodies, other.bodies];
  },

  async draining() {
    const [nc, other] = [await open(), await open()];
    const inbox = new Inbox();
    const subscription = nc.subscribe('d', inbox);
    await nc.flush();
    for (let number = 0; number < 50; number += 1) other.publish('d', text.encode(String(number)));
    await other.flush();
    await subscription.drain();
    const drained = inbox.messages.length;
    other.publish('d', text.encode('late'));
    await other.flush();
    const last = new Inbox();
    nc.subscribe('e', last);
    await nc.flush();
    other.publish('e', text.encode('x'));
    await other.drain();
    await nc.drain();
    return [drained, inbox.messages.length, last.bodies, nc.isClosed(), other.isClosed()];
  },

  async 'round trips'() {
    const nc = await open();
    for (let number = 0; number < 20; number += 1) await nc.flush();
    const rtt = await nc.rtt();
    await nc.close();
    return rtt >= 0 && rtt < LIMIT;
  },

  async 'too large'() {
    const nc = await open();
    const most = nc.info.max_payload;
    const inbox = new Inbox();
    nc.subscribe('big', inbox);
    nc.publish('big', new Uint8Array(most));
    await inbox.wait(1);
    const told = await attempt(() => nc.publish('big', new Uint8Array(most + 1)));
    const bold = await open({ reconnect: false });
    bold.info.max_payload = most * 2;
    bold.publish('big', new Uint8Array(most + 1));
    // Whether it reads the error before it writes into a closed connection is chance.
    await within(bold.closed());
    await nc.flush();
    await nc.close();
    return [told, inbox.messages.length, bold.isClosed()];
  },

  async subjects() {
    const nc = await open();
    const found = {};
    for (const subject of ['', 'a b', 'a..b', '.a', 'a.', 'a.*', 'a.>']) found[subject] = await attempt(() => nc.publish(subject));
    await nc.close();
    const said = {};
    for (const subject of ['a..b', '.a', 'a.', 'a.>.b', 'a*', 'a.*']) {
      const careless = await open({ reconnect: false });
      const events = watch(careless);
      const inbox = new Inbox();
      careless.subscribe(subject, inbox);
      careless.publish(subject);
      const ended = careless.closed().then((error) => (error ? raised(error) : 'closed'));
      // An error comes before the answer to the first flush, and is told before that to the second.
      const settled = careless.flush().then(() => careless.flush()).then(() => 'settled', () => ended);
      const first = await Promise.race([ended, settled]);
      if (events.length > 0) said[subject] = `${events[0].type} ${events[0].data}`;
      else if (first === 'settled') said[subject] = inbox.messages.length ? 'heard' : 'silence';
      else said[subject] = first;
      await careless.close();
    }
    return [found, said];
  },

  async moods() {
    const found = [];
    for (const mood of [{ verbose: true }, { pedantic: true }, { verbose: true, pedantic: true }]) {
      const nc = await open({ ...mood, reconnect: false });
      const events = watch(nc);
      const inbox = new Inbox();
      nc.subscribe('m', inbox);
      nc.publish('m', text.encode('x'));
      const made = newHeaders();
      made.set('a', 'b');
      nc.publish('m', text.encode('y'), { headers: made });
      await inbox.wait(2);
      nc.publish('m.*', text.encode('z'));
      if (mood.pedantic) await until(() => events.length > 0 || nc.isClosed());
      else await nc.flush();
      found.push([inbox.bodies, events.map(({ type, data }) => `${type} ${data}`), nc.isClosed()]);
      await nc.close();
    }
    return found;
  },

  async 'no echo'() {
    const [nc, other] = [await open({ noEcho: true }), await open()];
    const inbox = new Inbox();
    nc.subscribe('echo', inbox);
    nc.publish('echo', text.encode('mine'));
    await nc.flush();
    other.publish('echo', text.encode("another's"));
    await inbox.wait(1);
    await nc.close();
    await other.close();
    return inbox.bodies;
  },

  async strangers() {
    const found = [];
    for (const { user, pass, auth_token: token } of wanted.bad) {
      const shown = { user, pass, token };
      found.push(await attempt(() => connect({ servers: wanted.address, timeout: LIMIT, reconnect: false, ...shown })));
    }
    return found;
  },

  async restarts() {
    const nc = await open({ reconnectTimeWait: 100, maxReconnectAttempts: -1 });
    const events = watch(nc);
    const inbox = new Inbox();
    nc.subscribe('r.*', inbox);
    nc.subscribe('r.*', { queue: 'q', callback: inbox.callback });
    await nc.flush();
    await ask('restart');
    await until(() => events.some(({ type }) => type === Events.Reconnect), 30000);
    nc.publish('r.x', text.encode('after'));
    await inbox.wait(2);
    await nc.close();
    const kinds = new Set([Events.Disconnect, Events.Reconnect]);
    return [events.map(({ type }) => type).filter((type) => kinds.has(type)), inbox.bodies];
  },

  async ducks() {
    const nc = await open({ reconnect: false });
    const events = watch(nc);
    const inbox = new Inbox();
    nc.subscribe('l', inbox);
    await nc.flush();
    await ask('duck');
    await until(() => events.some(({ type }) => type === Events.LDM));
    nc.publish('l', text.encode('still here'));
    await inbox.wait(1);
    const [host, port] = wanted.address.split(':');
    const newcomer = await new Promise((done) => {
      const socket = net.connect(Number(port), host, () => done('let in'));
      socket.on('error', (error) => done(error.code));
    });
    await within(nc.closed(), 30000);
    const kinds = new Set([Events.Disconnect, Events.LDM, Events.Error]);
    return [events.map(({ type }) => type).filter((type) => kinds.has(type)), inbox.bodies, newcomer];
  },
};

(async () => {
  const transcript = {};
  for (const [name, step] of Object.entries(steps)) {
    try {
      transcript[name] = await within(step(), 60000);
    } catch (error) {
      transcript[name] = `failed with ${raised(error)}`;
    }
  }
  console.log(JSON.stringify({ transcript }));
  process.exit(0);
})();
