// Emmett on PostgreSQL: node emmett.mjs WORKLOAD N URL FOLDER, with the packages in FOLDER/node_modules. Prints one line of JSON.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [workload, count, url, folder] = process.argv.slice(2);
const n = Number(count);
const require = createRequire(`${folder}/from-here.js`);
const { getPostgreSQLEventStore, postgreSQLRawSQLProjection } = require('@event-driven-io/emmett-postgresql');
const { rawSql, sql } = require('@event-driven-io/dumbo');

const CALLERS = 64, PART_CALLERS = 16, TABLE = 'emt_messages';
const FRESH = { expectedStreamVersion: 'STREAM_DOES_NOT_EXIST' };
const now = () => performance.now() / 1e3;
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1e3));
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const tell = (line) => process.stdout.write(line + '\n');
const begin = async () => { tell('ready'); await lines.next(); };

const check = (what, found, expected) => {
  if (found !== expected) throw new Error(`${what}: ${found}, expected ${expected}`);
};
const padded = (number, width) => String(number).padStart(width, '0');
const order = (number) => ({
  type: 'Placed',
  data: {
    order_id: `order-${padded(number, 10)}`,
    customer_id: `customer-${padded(number % 5000, 6)}`,
    items: [0, 1, 2].map((place) => ({
      product_id: `product-${padded((number + place) % 1000, 5)}`, quantity: 1 + place, price: 19.99 + place,
    })),
    total: 131.94,
    placed_at: '2024-05-01T12:34:56.789012+00:00',
  },
});
const range = (first, length) => Array.from({ length }, (_, place) => first + place);
const made = (numbers, events) => numbers.map((number) => [`order-${number}`, range(0, events).map(() => order(number))]);
const folding = { initialState: () => ({ changes: 0 }), evolve: (state, event) => { state.changes++; state.total = event.data.total; return state; } };

const store = getPostgreSQLEventStore(url);
const append = ([stream, events]) => store.appendToStream(stream, events, FRESH);
const load = async (stream, changes) => {
  const found = await store.aggregateStream(stream, folding);
  check('events folded', found.state.changes, changes);
};

async function timed(act, things) {
  const latencies = [], started = now();
  let before = started;
  for (const thing of things) {
    await act(thing);
    const at = now();
    latencies.push(at - before);
    before = at;
  }
  return [before - started, latencies];
}

async function concurrently(act, things, callers = CALLERS) {
  const started = now();
  const parts = await Promise.all(range(0, callers).map((caller) => timed(act, things.filter((_, place) => place % callers === caller))));
  return [now() - started, parts.flatMap(([, latencies]) => latencies)];
}

const percentile = (latencies, share) => {
  const ordered = [...latencies].sort((one, other) => one - other);
  return Math.round(ordered[Math.min(ordered.length - 1, Math.floor(ordered.length * share))] * 1e7) / 10;
};
const outcome = (done, seconds, latencies, stored) => ({
  n: done, ops_s: seconds === null ? null : Math.round((done / seconds) * 10) / 10,
  p50_us: latencies.length ? percentile(latencies, 0.5) : null, p99_us: latencies.length ? percentile(latencies, 0.99) : null,
  stored, table: TABLE,
});

async function appends(act, events) {
  const streams = Math.floor(n / events), warmUp = Math.floor(streams / 10);
  await act(append, made(range(streams, warmUp), events));
  const [seconds, latencies] = await act(append, made(range(0, streams), events));
  return outcome(streams * events, seconds, latencies, (streams + warmUp) * events);
}

async function race() {
  const first = process.pid * 10_000_000, warmUp = Math.floor(n / 10);
  await concurrently(append, made(range(first + n, warmUp), 1), PART_CALLERS);
  const given = made(range(first, n), 1);
  await begin();
  const [seconds, latencies] = await concurrently(append, given, PART_CALLERS);
  return { seconds, latencies_s: latencies };
}

async function foldOne() {
  const loads = 10, events = range(0, n).map(order);
  for (let first = 0; first < n; first += 1000) await store.appendToStream('order-0', events.slice(first, first + 1000));
  await load('order-0', n);
  const [seconds, latencies] = await timed((stream) => load(stream, n), range(0, loads).map(() => 'order-0'));
  return outcome(loads * n, seconds, latencies, n);
}

async function foldMany() {
  const streams = range(0, n).map((number) => `order-${number}`);
  await concurrently(append, made(range(0, n), 10));
  await timed((stream) => load(stream, 10), streams.slice(0, Math.floor(n / 10)));
  const [seconds, latencies] = await timed((stream) => load(stream, 10), streams);
  return outcome(n * 10, seconds, latencies, n * 10);
}

async function decide() {
  const streams = 200, warmUp = Math.floor(n / 10);
  await concurrently(append, made(range(0, streams), 20));
  const act = async (number) => {
    const stream = `order-${number % streams}`;
    const found = await store.aggregateStream(stream, folding);
    await store.appendToStream(stream, [order(number)], { expectedStreamVersion: found.currentStreamVersion });
  };
  await timed(act, range(0, warmUp));
  const [seconds, latencies] = await timed(act, range(0, n));
  return outcome(n, seconds, latencies, streams * 20 + warmUp + n);
}

async function catchUp() {
  const streams = Math.floor(n / 10);
  await timed(append, made(range(0, streams), 10)); // one after another: its consumer misses some of the events appended concurrently
  const projection = postgreSQLRawSQLProjection({
    name: 'order_view',
    canHandle: ['Placed'],
    init: () => rawSql('CREATE TABLE IF NOT EXISTS order_view (order_id text PRIMARY KEY, customer_id text, total float8, n bigint)'),
    evolve: ({ data }) => sql(
      'INSERT INTO order_view AS v VALUES (%L, %L, %s, 1) ON CONFLICT (order_id) DO UPDATE SET total = excluded.total, n = v.n + 1',
      data.order_id, data.customer_id, data.total,
    ),
  });
  const started = now();
  const consumer = store.consumer({ stopWhen: { noMessagesLeft: true } });
  consumer.projector({ projection });
  await consumer.start();
  const seconds = now() - started;
  await consumer.close();
  return outcome(streams * 10, seconds, [], streams * 10);
}

async function deliver() {
  let handled;
  const consumer = store.consumer();
  consumer.reactor({ processorId: 'follower', eachMessage: () => handled?.(now()) });
  const running = consumer.start();
  await pause(0.5);
  const latencies = [], warmUp = Math.floor(n / 10);
  for (const given of made(range(0, n + warmUp), 1)) {
    await pause(Math.random()); // it polls at intervals: vary the point within an interval
    const at = new Promise((resolve) => { handled = resolve; });
    const started = now();
    await append(given);
    latencies.push((await at) - started);
  }
  await consumer.stop();
  await running.catch(() => {});
  return outcome(n, null, latencies.slice(warmUp), n + warmUp);
}

async function probeWrite() {
  const given = range(process.pid * 10_000_000, n).map((number) => made([number], 1 + (number % 3))[0]);
  await begin();
  await concurrently(append, given, PART_CALLERS);
  return { acknowledged: given.reduce((sum, [, events]) => sum + events.length, 0) };
}

async function probeRead() {
  const seen = [];
  const consumer = store.consumer({ pulling: { pullingFrequencyInMs: 1, batchSize: 100 } });
  consumer.reactor({ processorId: 'probe', eachMessage: (message) => { seen.push(Number(message.metadata.globalPosition)); } });
  consumer.start().catch((problem) => { console.error(problem); process.exit(1); });
  await pause(0.5);
  await begin();
  return { seen };
}

const WORKLOADS = {
  'W1': () => appends(timed, 1), 'W2': () => appends(concurrently, 1), 'W3-part': race, 'W4': () => appends(concurrently, 10),
  'W5-one': foldOne, 'W5-many': foldMany, 'W6': decide, 'W7': catchUp, 'W7-sql': catchUp, 'W8': deliver,
  'probe-write': probeWrite, 'probe-read': probeRead,
};

if (workload !== 'W3-part' && workload !== 'probe-write') await store.schema.migrate(); // otherwise the schema exists
tell(JSON.stringify(await WORKLOADS[workload]()));
process.exit(0);
