// A small simulated job, written in the format of the timeline's writer, so that the check can be tested without it.
// `node sample.mjs FILE` writes a valid file; selftest.mjs breaks the records one by one.
import fs from 'node:fs';
import zlib from 'node:zlib';
import { pathToFileURL } from 'node:url';

const MICROS = 1000;

/** Records with `ts` and `dur` in integer nanoseconds, in the order of the file. */
export function simulate({ events = 24, slots = 4, workers = 3, level = 'full' } = {}) {
  const out = [], agenda = [], runnable = [];
  let now = 0, seed = 7, order = 0, requests = 0, batches = 0, inFlight = 0, nextEvent = 0;
  const random = (low, high) => low + ((seed = (seed * 1103515245 + 12345) % 2147483648) % (high - low));
  const at = (ts, action) => agenda.push({ ts, order: order++, action });
  const put = record => out.push({ order: order++, ...record });
  const counter = (pid, name, value) => put({ ph: 'C', pid, name, ts: now, args: { value } });
  const meta = (name, pid, tid, args) => out.push({ order: -1, ts: -1, name, ph: 'M', pid, ...(tid === undefined ? {} : { tid }), args });
  const flow = (ph, id, pid, tid, ts) => put({ ph, pid, tid, ts, cat: 'flow', name: 'request', id, ...(ph === 'f' ? { bp: 'e' } : {}) });

  [[1, 'workers'], [2, 'events in flight'], [3, 'devices']].forEach(([pid, name]) => {
    meta('process_name', pid, undefined, { name });
    meta('process_sort_index', pid, undefined, { sort_index: pid });
  });
  put({ ph: 'i', s: 'g', pid: 1, tid: 0, ts: 0, cat: 'job', name: 'trace begins',
    args: { version: 2, chain: 'sample', threads: workers, slots, level, every: 1, clock: 'simulated' } });
  const pool = Array.from({ length: workers }, (_, n) => ({ tid: 100 + n, free: true }));
  pool.forEach((w, n) => meta('thread_name', 1, w.tid, { name: `worker-${n}` }));
  for (let slot = 0; slot < slots; slot++) {
    meta('thread_name', 2, 1000 + slot * 10, { name: `slot ${slot}` });
    meta('thread_name', 2, 1001 + slot * 10, { name: `slot ${slot} lane 1` });
  }

  const state = (call, name, args = {}) => {
    const last = call.states.at(-1);
    if (last) last.dur = now - last.ts;
    if (last?.dur === 0) call.states.pop();
    if (name) call.states.push({ ts: now, name, args: { event: call.event, ...args } });
  };
  const begin = (event, slot, lane, name) => {
    const call = { event, tid: 1000 + slot * 10 + lane, name, ts: now, polls: 0, states: [] };
    state(call, 'ready');
    return call;
  };
  const end = (call, more = {}) => {
    state(call);
    const track = { ph: 'X', pid: 2, tid: call.tid };
    put({ ...track, ts: call.ts, rank: 1, dur: now - call.ts, cat: 'algorithm', name: call.name, args: { event: call.event, polls: call.polls, ...more } });
    call.states.forEach(s => put({ ...track, ...s, rank: 2, cat: 'state' }));
  };
  const poll = (call, cost, then, resumed) => { runnable.push({ call, cost, then, resumed }); dispatch(); };
  function dispatch() {
    for (let worker; runnable.length && (worker = pool.find(w => w.free));) {
      const { call, cost, then, resumed } = runnable.shift();
      const slice = { pid: 1, tid: worker.tid, cat: 'asynchrotron', name: call.name, args: { event: call.event } };
      const ts = now, span = { ...slice, cat: 'user', name: 'inner loop', args: {} };
      worker.free = false;
      call.polls += 1;
      state(call, 'running');
      if (level === 'light') put({ ...slice, ph: 'X', ts, dur: cost });
      else put({ ...slice, ph: 'B', ts });
      if (resumed) flow('f', resumed, 1, worker.tid, ts + 200);
      if (level === 'full' && call.name === 'fit') {
        put({ ...span, ph: 'B', ts: ts + 2000 });
        put({ ...span, ph: 'E', ts: ts + cost - 2000 });
      }
      at(ts + cost, () => {
        if (level === 'full') put({ ...slice, ph: 'E', ts: now });
        worker.free = true;
        then(worker);
        at(now + 300, dispatch);
      });
    }
  }

  const device = (name, count, firstTid) => {
    const lanes = Array.from({ length: count }, (_, n) => ({ tid: firstTid + n, free: true }));
    lanes.forEach((lane, n) => meta('thread_name', 3, lane.tid, { name: `${name} lane ${n}` }));
    return { name, lanes, bytes: 0 };
  };
  const batcher = (name, on, best, fails) => ({ name, on, best, fails, queue: [], retry: [] });
  const gpu = device('emulated', 2, 10), net = device('engine', 1, 12);
  const clue = batcher('clue', gpu, 3, 4), model = batcher('model', net, 4);
  const usage = d => { counter(3, `occupancy ${d.name}`, d.lanes.filter(l => !l.free).length); counter(3, `bytes ${d.name}`, d.bytes); };
  function submit(b, call, worker, then) {
    const request = { id: ++requests, call, rows: random(20, 90), submitted: now, then };
    flow('s', request.id, 1, worker.tid, now - 100);
    state(call, 'queued in batch', { batcher: b.name, rows: request.rows });
    b.queue.push(request);
    counter(3, `queue depth ${b.name}`, b.queue.length);
    at(now + 900 * MICROS, () => flush(b));
    flush(b);
  }
  function flush(b) {
    const oldest = b.queue[0], aged = oldest && now - oldest.submitted >= 900 * MICROS;
    const lane = b.on.lanes.find(l => l.free);
    if (!lane || !(b.retry.length || b.queue.length >= b.best || aged)) return;
    const taken = b.retry.shift() ?? b.queue.splice(0, 8);
    const id = ++batches, fails = b.fails === id && taken.length > 1, rows = taken.reduce((sum, r) => sum + r.rows, 0);
    const args = { batch: id, requests: taken.length, rows, padding: 0, bytes: rows * 12, closed: aged ? 'age' : 'best size', closed_us: now / 1000,
      held_us: (now - taken[0].submitted) / 1000, ...(fails ? { failed: 'emulated fault' } : {}) };
    lane.free = false;
    counter(3, `queue depth ${b.name}`, b.queue.length);
    taken.forEach(r => state(r.call, 'awaiting lane', { batcher: b.name }));
    at(now + 15 * MICROS, () => {
      const ts = now, dur = 250 * MICROS + taken.length * 60 * MICROS;
      b.on.bytes += args.bytes;
      usage(b.on);
      counter(3, `batch size ${b.name}`, taken.length);
      put({ ph: 'X', pid: 3, tid: lane.tid, ts, dur, cat: 'batch', name: b.name, args });
      taken.forEach(r => { flow('t', r.id, 3, lane.tid, ts + 50); state(r.call, 'on device', { batcher: b.name, batch: id }); });
      at(ts + dur, () => {
        lane.free = true;
        b.on.bytes -= args.bytes;
        usage(b.on);
        taken.forEach(r => { if (fails) state(r.call, 'awaiting lane', { batcher: b.name }); else r.then(r.id); });
        if (fails) b.retry.push(taken.slice(0, 1), taken.slice(1));
        flush(b);
        flush(b);
      });
    });
  }

  function take(slot) {
    const event = nextEvent++, start = now;
    if (event >= events) return;
    counter(2, 'events in flight', ++inFlight);
    let open = 2;
    const over = (more = {}) => {
      put({ ph: 'X', pid: 2, tid: 1000 + slot * 10, ts: start, rank: 0, dur: now - start, cat: 'event', name: `event ${event}`, args: { event, slot, ...more } });
      counter(2, 'events in flight', --inFlight);
      counter(2, 'events/s', Math.round(1e9 * (event + 1) / now));
      at(now + 5 * MICROS, () => take(slot));
    };
    const join = failed => {
      if (failed) put({ ph: 'i', s: 't', pid: 1, tid: 100, ts: now, name: 'event failed', cat: 'job', args: { event, algorithm: 'classify', cause: 'too late' } });
      if (--open) return;
      if (event === 5) return over({ failed: 'classify: too late' });
      const fit = begin(event, slot, 0, 'fit');
      poll(fit, random(150, 400) * MICROS, () => {
        end(fit);
        const ts = now;
        at(now + 8 * MICROS, () => {
          put({ ph: 'X', pid: 2, tid: 1000 + slot * 10, ts, rank: 1, dur: now - ts, cat: 'delivery', name: 'sinks', args: { event } });
          over();
        });
      });
    };
    const offloaded = (name, lane, b) => {
      const call = begin(event, slot, lane, name);
      poll(call, random(30, 90) * MICROS, worker => submit(b, call, worker, id => {
        if (event === 5 && name === 'classify') { end(call, { failed: true, abandoned: true }); return join(true); }
        state(call, 'ready');
        poll(call, random(10, 60) * MICROS, () => { end(call); join(); }, id);
      }));
    };
    const unpack = begin(event, slot, 0, 'unpack');
    poll(unpack, random(40, 120) * MICROS, () => {
      state(unpack, 'suspended');
      at(now + 60 * MICROS, () => {
        state(unpack, 'ready');
        poll(unpack, 20 * MICROS, () => { end(unpack); offloaded('clusterize', 0, clue); offloaded('classify', 1, model); });
      });
    });
  }

  for (let slot = 0; slot < slots; slot++) at(1000 + slot * 50 * MICROS, () => take(slot));
  while (agenda.length) {
    agenda.sort((a, b) => a.ts - b.ts || a.order - b.order);
    const { ts, action } = agenda.shift();
    now = ts;
    action();
  }
  put({ ph: 'i', s: 'g', pid: 1, tid: 0, ts: now, cat: 'job', name: 'trace ends', args: { records: out.length, lost: 0, events, failed: 1 } });
  // Parents before children where they begin together; the end of a slice before the next begins.
  out.sort((a, b) => a.ts - b.ts || (a.rank ?? 0) - (b.rank ?? 0) || a.order - b.order);
  return out;
}

const micros = ns => `${Math.floor(ns / 1000)}.${String(ns % 1000).padStart(3, '0')}`;

export function text(records, { close = true } = {}) {
  const lines = records.map(({ order, rank, ts, dur, ...rest }) => {
    const times = (ts >= 0 ? `,"ts":${micros(ts)}` : '') + (dur === undefined ? '' : `,"dur":${micros(dur)}`);
    return JSON.stringify(rest).slice(0, -1) + times + '}';
  });
  return '[\n' + lines.join(',\n') + (close ? '\n]\n' : '');
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [file, level] = process.argv.slice(2);
  const body = text(simulate({ level }));
  fs.writeFileSync(file, file.endsWith('.gz') ? zlib.gzipSync(body) : body);
}
