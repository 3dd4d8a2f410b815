// Reads a migration's divergences with kafkajs, from where its journal ends,
// each exactly once:
//
//   npm ci && node subscribe.js 127.0.0.1:9092 trueup.orders.divergences seen.jsonl
import fs from 'node:fs';
import process from 'node:process';
import { Kafka, logLevel } from 'kafkajs';

const [brokers, topic, path] = process.argv.slice(2);
if (!path) {
  console.error('usage: node subscribe.js BROKERS TOPIC JOURNAL');
  process.exit(2);
}

// The journal stands in for the database in which a real subscriber keeps what it
// makes of events: what was handled, and up to where. A last line that was cut
// short, by a kill, was not handled.
const file = fs.openSync(path, fs.constants.O_CREAT | fs.constants.O_RDWR, 0o600);
const text = fs.readFileSync(file, 'utf8');
const whole = text.slice(0, text.lastIndexOf('\n') + 1);
fs.ftruncateSync(file, Buffer.byteLength(whole));
const seen = new Set();
const next = new Map();
const remember = ({ id, partition, offset }) => {
  seen.add(id);
  next.set(partition, Math.max(next.get(partition) ?? 0, offset + 1));
};
for (const line of whole.split('\n')) if (line) remember(JSON.parse(line));

function handle(event) {
  if (seen.has(event.id)) return;
  fs.writeSync(file, JSON.stringify(event) + '\n');
  fs.fsyncSync(file);
  remember(event);
}

const kafka = new Kafka({
  clientId: 'trueup-example',
  brokers: brokers.split(','),
  logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: Number.MAX_SAFE_INTEGER },
});
const consumer = kafka.consumer({
  groupId: `example-${process.pid}-${Date.now()}`, // kafkajs wants a group; the journal keeps the place
  readUncommitted: false,
  maxWaitTimeInMs: 500,
  retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: Number.MAX_SAFE_INTEGER, restartOnFailure: async () => true },
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));

await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });
consumer.on(consumer.events.GROUP_JOIN, () => {
  for (const [partition, offset] of next) consumer.seek({ topic, partition, offset: String(offset) });
});
await consumer.run({
  autoCommit: false,
  eachMessage: async ({ partition, message }) => {
    const header = (name) => message.headers[name]?.toString();
    JSON.parse(message.value.toString()); // what a subscriber does is done here
    handle({ partition, offset: Number(message.offset), id: header('ce_id'), type: header('ce_type'), subject: header('ce_subject') });
  },
});
