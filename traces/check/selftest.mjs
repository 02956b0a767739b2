// The check must be able to fail: each fault below is put into a valid file, and the assertions that it names must fail, no others.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import zlib from 'node:zlib';
import { examine } from './assertions.mjs';
import { queries, withPerfetto } from './check.mjs';
import { simulate, text } from './sample.mjs';

const IMPORT = 'no import error, no data loss', JOB = 'the job says where it begins and ends, and lost nothing', NAMES = 'processes and threads have names',
  WORKERS = 'workers have slices', NESTED = 'events, algorithms and states lie in one another', SUMS = 'states sum to the life of each call',
  NUMBERS = 'arguments are numbers', ARROWS = 'arrows lead from polls to batches to polls of the same call', REQUESTS = 'every request has its batch and is resumed',
  COUNTS = 'as many arrows reach a batch as it has requests', WINDOW = 'batches lie between submit and resume', BATCHES = 'states on a device name their batch',
  THERE = 'counters are there', BOUNDS = 'counters stay within bounds and come back to zero';

const one = (records, what) => records.find(what) ?? (() => { throw new Error(`the sample has no ${what}`); })();
const without = (records, what) => { records.splice(records.indexOf(one(records, what)), 1); };
const all = (records, what, change) => records.filter(what).forEach(change);
const flow = (ph, id) => r => r.ph === ph && r.id === id;
const state = name => r => r.cat === 'state' && r.name === name;

/** What is wrong, the assertions that must fail, and how to do it. */
const FAULTS = [
  ['nothing', [], () => {}],
  ['two slices of one track overlap', [IMPORT], r => {
    const event = one(r, x => x.cat === 'event' && x.args.event === 3);
    r.push({ ...event, name: 'event 99', ts: event.ts + event.dur - 500, args: { event: 99, slot: 3 }, dur: 1500 });
  }],
  ['a poll that never ends', [JOB], r => { const last = r.filter(x => x.ph === 'E').at(-1); r.splice(r.indexOf(last), 1); }],
  ['a flow without an end', [REQUESTS], r => without(r, flow('f', 7))],
  ['a flow without a batch', [ARROWS, COUNTS], r => without(r, flow('t', 7))],
  ['a flow that ends outside of all polls', [IMPORT, REQUESTS], r => { one(r, flow('f', 7)).tid = 999; }],
  ['two requests of one batch are resumed in each other\'s poll', [ARROWS], r => {
    const [a, b] = [flow('f', 4), flow('f', 5)].map(what => one(r, what)), { ts, tid } = a;
    Object.assign(a, { ts: b.ts, tid: b.tid });
    Object.assign(b, { ts, tid });
  }],
  ['the arrow of a request leads to another batch', [COUNTS, WINDOW], r => {
    const [b, c] = r.filter(x => x.cat === 'batch');
    Object.assign(one(r, x => x.ph === 't' && x.tid === b.tid && x.ts >= b.ts), { tid: c.tid, ts: c.ts + 60 });
  }],
  ['a state is one nanosecond short', [SUMS], r => { one(r, state('ready')).dur -= 1; }],
  ['a state is missing', [SUMS], r => without(r, state('suspended'))],
  ['a state has an unknown name', [NESTED], r => { one(r, state('suspended')).name = 'asleep'; }],
  ['a state of another event', [NESTED], r => { one(r, state('suspended')).args = { event: 17 }; }],
  ['an event is text', [NUMBERS], r => all(r, x => x.cat === 'asynchrotron', x => { x.args = { event: String(x.args.event) }; })],
  ['the rows of a batch are text', [NUMBERS], r => { const b = one(r, x => x.cat === 'batch'); b.args = { ...b.args, rows: '120' }; }],
  ['a batch lasts longer than the poll it resumed', [WINDOW], r => { r.filter(x => x.cat === 'batch' && x.tid === 12).at(-1).dur += 9e5; }],
  // Perfetto turns an arrow around whose target began before its source.
  ['a batch begins before its requests', [WINDOW, REQUESTS, COUNTS], r => { const b = one(r, x => x.cat === 'batch' && x.tid === 12); b.dur += b.ts - 1000; b.ts = 1000; }],
  ['a state names a batch that is not there', [BATCHES], r => { const s = one(r, state('on device')); s.args = { ...s.args, batch: 999 }; }],
  ['no queue depth', [THERE], r => all(r, x => x.name === 'queue depth clue', x => { x.name = 'depth'; })],
  ['the occupancy stays up', [BOUNDS], r => without(r, x => x === r.filter(y => y.name === 'occupancy engine').at(-1))],
  ['more events in flight than slots', [BOUNDS], r => { one(r, x => x.ph === 'C' && x.args.value === 4 && x.name === 'events in flight').args = { value: 5 }; }],
  ['a lane without a name', [NAMES], r => without(r, x => x.ph === 'M' && x.name === 'thread_name' && x.pid === 3)],
  ['a process with a wrong name', [NAMES], r => { one(r, x => x.name === 'process_name' && x.pid === 2).args = { name: 'slots' }; }],
  ['records were lost', [JOB], r => { one(r, x => x.name === 'trace ends').args.lost = 3; }],
  ['no polls', [IMPORT, WORKERS, ARROWS, REQUESTS, COUNTS], r => { r.splice(0, r.length, ...r.filter(x => x.cat !== 'asynchrotron' && x.cat !== 'user')); }],
];

async function fault(perfetto, folder, [what, expected, change]) {
  const records = simulate(), file = path.join(folder, 'fault.json');
  change(records);
  fs.writeFileSync(file, text(records));
  await perfetto.load(file);
  const failed = (await examine(perfetto)).filter(r => r.state === 'FAILED');
  const right = failed.map(r => r.name).sort().join() === [...expected].sort().join();
  const said = names => names.map(name => `"${name}"`).join(', ') || 'nothing';
  const should = right ? '' : `, ${said(expected)} should`;
  console.log(`${right ? 'ok      ' : 'FAILED  '} ${what}: ${said(failed.map(r => r.name))} failed${should}`);
  failed.forEach(r => console.log(`           ${r.words}`));
  return right;
}

/** Whole files rather than records: what opens and what does not. */
async function files(perfetto, folder) {
  const body = text(simulate({ level: 'light' })), half = body.length >> 1, pack = zlib.gzipSync;
  const members = Buffer.concat([pack(body.slice(0, half)), pack(body.slice(half))]);
  const cases = [
    ['a file of several gzip members', 'members.json.gz', members, false, []],
    ['a file cut in the middle of a record', 'cut.json', body.slice(0, half), true, []],
    ['a file cut between two gzip members', 'cut.json.gz', pack(body.slice(0, half)), true, []],
    ['a file cut within a gzip member', 'torn.json.gz', members.subarray(0, members.length - 100), true, 'GZIP stream incomplete'],
    ['a file that is no timeline', 'other.json', 'hello', false, 'Cannot open this file'],
  ];
  let right = 0;
  for (const [what, name, bytes, incomplete, expected] of cases) {
    fs.writeFileSync(path.join(folder, name), bytes);
    const error = await perfetto.load(path.join(folder, name)).then(() => null, e => e.message);
    const failed = error ? [] : (await examine(perfetto, { incomplete })).filter(r => r.state === 'FAILED').map(r => r.name);
    const ok = typeof expected === 'string' ? error?.includes(expected) : !error && !failed.length;
    console.log(`${ok ? 'ok      ' : 'FAILED  '} ${what}: ${error ?? (failed.join(', ') || 'opens')}`);
    right += ok ? 1 : 0;
  }
  return [right, cases.length];
}

async function asked(perfetto, folder) {
  const file = path.join(folder, 'valid.json');
  fs.writeFileSync(file, text(simulate()));
  await perfetto.load(file);
  let right = 0;
  for (const { title, sql } of queries()) {
    const answer = await perfetto.query(sql).then(rows => rows.length ? '' : 'no row', error => error.message);
    if (answer) console.log(`FAILED   query ${title}: ${answer}`);
    else right += 1;
  }
  console.log(`${right === 10 ? 'ok      ' : 'FAILED  '} ${right} of 10 queries have an answer`);
  return right === 10;
}

withPerfetto(async perfetto => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'perfetto-selftest-'));
  try {
    let [passed, total] = await files(perfetto, folder);
    for (const entry of FAULTS) passed += (total += 1, await fault(perfetto, folder, entry)) ? 1 : 0;
    passed += (total += 1, await asked(perfetto, folder)) ? 1 : 0;
    console.log(`${passed} passed, ${total - passed} failed`);
    return passed === total ? 0 : 1;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});
