// What must be true of a timeline, asked of Perfetto's trace processor. Each assertion is a query for what contradicts it.

/** An argument of a slice: JSON files have `args.`, native ones `debug.`. */
const arg = (slice, name) => `coalesce(extract_arg(${slice}.arg_set_id, 'args.${name}'), extract_arg(${slice}.arg_set_id, 'debug.${name}'))`;
const list = names => names.map(name => `'${name}'`).join(', ');

// Where a flow ends on a user's own span, what counts is the poll around it.
const TABLES = `
  create or replace perfetto table check_slice as
    select s.id, s.ts, s.dur, s.name, s.category, s.parent_id, s.depth, s.track_id, s.arg_set_id, t.tid, t.name as thread, p.pid,
      cast(${arg('s', 'event')} as int) as event, cast(${arg('s', 'batch')} as int) as batch,
      case when s.category = 'batch' then 'batch'
        when p.pid = 1 and s.category = 'asynchrotron' and s.name != 'event failed' then 'poll' else s.category end as kind
    from slice s left join thread_track k on k.id = s.track_id left join thread t using (utid) left join process p using (upid);
  create or replace perfetto table check_end as
    with ends as (select slice_out as id from flow union select slice_in from flow),
      around as (select e.id, a.id as up from ends e join ancestor_slice(e.id) a union select id, id from ends)
    select a.id, s.id as slice, max(s.depth) as depth from around a join check_slice s on s.id = a.up
    where s.kind in ('poll', 'batch') group by a.id;
  create or replace perfetto table check_arrow as
    select f.trace_id as request, o.name || ' at ' || o.ts as source, i.name || ' at ' || i.ts as target,
      coalesce(o.kind, 'other') as from_kind, o.ts as out_ts, o.ts + o.dur as out_end, o.event as out_event, o.name as out_name,
      coalesce(i.kind, 'other') as to_kind, i.ts as in_ts, i.ts + i.dur as in_end, i.event as in_event, i.name as in_name, i.id as in_id
    from flow f left join check_end oe on oe.id = f.slice_out left join check_slice o on o.id = oe.slice
      left join check_end ie on ie.id = f.slice_in left join check_slice i on i.id = ie.slice;
  create or replace perfetto table check_counter as
    select k.id, case when k.name glob '* value' then substr(k.name, 1, length(k.name) - 6) else k.name end as name from counter_track k`;

const NUMBERS = { poll: ['event'], event: ['event', 'slot'], algorithm: ['event', 'polls'], state: ['event'], delivery: ['event'],
  batch: ['batch', 'requests', 'rows', 'padding', 'bytes', 'closed_us', 'held_us'] };
const STATES = ['running', 'queued in batch', 'awaiting lane', 'on device', 'ready', 'suspended'];
const device = `substr(thread, 1, instr(thread, ' lane ') - 1)`;

/** Evidence rows where an argument is missing or is not a number. */
const text = (where, names) => names.map(name => `select id, kind, name, '${name}' as argument, typeof(${arg('s', name)}) as type
  from check_slice s where ${where} and typeof(${arg('s', name)}) not in ('integer', 'real')`).join(' union all ');

/** `name`, `of` (how many things were looked at), `bad` (rows that contradict), `least` (things there must be), `skip`. */
function assertions({ job, incomplete }) {
  const partial = incomplete || job.window_start_s !== null || job.every > 1, windowed = incomplete || job.window_start_s !== null;
  const kind = what => `select count(*) n from check_slice where kind = '${what}'`;
  return [
    { name: 'no import error, no data loss', of: 'select count(*) n from stats',
      bad: `select name, severity, value from stats where value > 0 and severity in ('error', 'data_loss')` },
    { name: 'the job says where it begins and ends, and lost nothing', skip: incomplete, of: `select count(*) n from slice where category = 'job'`,
      bad: `select 'no ' || column1 as problem from (values ('trace begins'), ('trace ends')) where column1 not in (select name from slice where category = 'job')
        union all select 'version is not 2' from slice s where name = 'trace begins' and ${arg('s', 'version')} is not 2
        union all select ${arg('s', 'lost')} || ' records lost' from slice s where category = 'job' and ${arg('s', 'lost')} > 0
        union all select 'not closed: ' || name || ' at ' || ts from slice where dur < 0` },
    { name: 'processes and threads have names', least: 3, of: `select count(distinct track_id) n from check_slice where pid > 0`,
      bad: `select column1 as pid, column2 as wanted, (select name from process where pid = column1) as name
        from (values (1, 'workers'), (2, 'events in flight'), (3, 'devices'))
        where name is not column2 and column1 in (select 1 union select 2 union select pid from check_slice)
        union all select distinct pid, tid, thread from check_slice where pid > 0 and tid > 0 and kind not in ('job') and (thread is null
          or (pid = 2 and thread not glob 'slot [0-9]*') or (pid = 3 and thread not glob '?* lane [0-9]*'))` },
    { name: 'workers have slices', least: 1, of: kind('poll'), bad: 'select 1 where 0' },
    { name: 'events, algorithms and states lie in one another', least: 1, of: `select count(*) n from check_slice where pid = 2`,
      bad: `select s.kind, s.name, s.ts, p.kind as parent_kind, p.name as parent from check_slice s left join check_slice p on p.id = s.parent_id
        where s.pid = 2 and s.dur != 0 and not case s.kind when 'event' then p.id is null
          when 'algorithm' then p.id is null or (p.kind = 'event' and s.event = p.event)
          when 'state' then ${incomplete ? '' : 'p.id is not null and '}p.kind = 'algorithm' and s.event = p.event
          when 'delivery' then p.kind = 'event' else 0 end
        union all select 'state', name, ts, 'unknown', null from check_slice where kind = 'state' and name not in (${list(STATES)})
        union all select 'algorithm', a.name, a.ts, 'outside of', e.name from check_slice a join check_slice e on e.kind = 'event'
          and e.event = a.event where a.kind = 'algorithm' and (a.ts < e.ts or a.ts + a.dur > e.ts + e.dur)` },
    { name: 'states sum to the life of each call', skip: incomplete, of: kind('algorithm'), least: 1,
      bad: `with sums as materialized (select parent_id, sum(dur) as ns from check_slice where kind = 'state' group by parent_id)
        select a.name, a.event, a.dur as life_ns, coalesce(s.ns, 0) as states_ns from check_slice a left join sums s on s.parent_id = a.id
        where a.kind = 'algorithm' and life_ns != states_ns` },
    { name: 'arguments are numbers', of: `select count(*) n from check_slice where kind in (${list(Object.keys(NUMBERS))})`, least: 1,
      bad: Object.entries(NUMBERS).map(([what, names]) => text(`s.kind = '${what}'`, names)).join(' union all ')
        + ` union all ${text(`s.kind = 'state' and s.name = 'queued in batch'`, ['rows'])}
        union all ${text(`s.kind = 'state' and s.name = 'on device'`, ['batch'])}` },
    // A batch that ends after the window is not drawn, what it resumes is.
    { name: 'arrows lead from polls to batches to polls of the same call', of: 'select count(*) n from flow', least: job.batches && !incomplete ? 1 : 0,
      bad: `select request, source, from_kind, target, to_kind from check_arrow where not case from_kind || ' ' || to_kind when 'poll batch' then 1
        when 'batch batch' then out_name = in_name when 'batch poll' then 1 when 'poll poll' then ${windowed ? 1 : 0} else 0 end
        union all select a.request, a.source, 'other call', b.target, a.out_event || ' and ' || b.in_event from check_arrow a join check_arrow b using (request)
        where a.from_kind = 'poll' and b.to_kind = 'poll' and (a.out_event is not b.in_event or a.out_name is not b.in_name)` },
    { name: 'every request has its batch and is resumed', skip: windowed, of: 'select count(distinct request) n from check_arrow',
      bad: `with requests as (select request, max(source) as source, min(target) as target, sum(from_kind = 'poll') as submitted,
          sum(to_kind = 'poll') as resumed, max(from_kind = 'poll' and to_kind = 'batch' and exists (select 1 from check_slice p where p.kind = 'poll' and p.event = out_event
            and p.name = out_name and p.ts <= in_ts and p.ts + p.dur >= in_end)) as at_once, -- the call ran while its batch did: it did not wait
          max(out_event) as event from check_arrow group by request)
        select request, source, target, submitted, resumed from requests r where submitted != 1 or resumed > 1 or (resumed = 0 and not at_once and not exists (
          select 1 from check_slice e where e.kind in ('event', 'algorithm') and e.event = r.event
            and coalesce(${arg('e', 'failed')}, ${arg('e', 'abandoned')}, ${arg('e', 'unfinished')}) is not null))` },
    { name: 'as many arrows reach a batch as it has requests', skip: incomplete, of: kind('batch'),
      bad: `select b.name, b.batch, ${arg('b', 'requests')} as requests, count(a.in_id) as arrows
        from check_slice b left join check_arrow a on a.in_id = b.id where b.kind = 'batch' group by b.id having ${partial ? 'arrows > requests' : 'arrows != requests'}` },
    { name: 'batches lie between submit and resume', of: kind('batch'),
      bad: `select request, source, target, case when to_kind = 'poll' then 'ends after the poll it resumed' else 'begins before what led to it' end as problem from check_arrow
        where (from_kind = 'poll' and to_kind = 'batch' and in_ts < out_ts) or (from_kind = 'batch' and to_kind = 'poll' and in_end < out_end and in_end >= in_ts)
          or (from_kind = 'batch' and to_kind = 'batch' and in_ts < out_end)` },
    { name: 'states on a device name their batch', skip: windowed, of: `select count(*) n from check_slice where kind = 'state' and name = 'on device'`,
      bad: `select s.event, s.ts, s.batch from check_slice s where kind = 'state' and name = 'on device' and not exists
        (select 1 from check_slice b where b.kind = 'batch' and b.batch = s.batch and b.name = ${arg('s', 'batcher')})` },
    { name: 'counters are there', least: 1, of: 'select count(*) n from check_counter',
      bad: `with wanted as (select 'events in flight' as counter union select 'queue depth ' || name from check_slice where kind = 'batch'
          union select 'batch size ' || name from check_slice where kind = 'batch'
          union select 'occupancy ' || ${device} from check_slice where kind = 'batch' union select 'bytes ' || ${device} from check_slice where kind = 'batch')
        select 'no ' || counter as problem from wanted where counter not in (select name from check_counter)` },
    { name: 'counters stay within bounds and come back to zero', of: 'select count(*) n from counter',
      bad: `select k.name, 'negative' as problem, min(c.value) as value from check_counter k join counter c on c.track_id = k.id group by k.id having value < 0
        union all select k.name, 'above ${job.slots} slots', max(c.value) as value from check_counter k join counter c on c.track_id = k.id
          where k.name = 'events in flight' group by k.id having value > ${job.slots ?? 1e9}
        union all select k.name, 'at the end', value from check_counter k join counter c on c.track_id = k.id
          where ${windowed ? 0 : 1} and (k.name = 'events in flight' or k.name glob 'queue depth *' or k.name glob 'occupancy *')
            and c.id = (select max(id) from counter l where l.track_id = k.id) and value != 0` },
  ];
}

/** Asks everything of the file that is loaded: `[{ name, state: 'ok' | 'FAILED' | 'skipped', words }]`. */
export async function examine(perfetto, { incomplete = false } = {}) {
  await perfetto.query(TABLES);
  const begins = ['version', 'slots', 'every', 'window_start_s'].map(name => `${arg('s', name)} as ${name}`).join(', ');
  const [job = {}] = await perfetto.query(`select ${begins} from slice s where name = 'trace begins' and category = 'job'`);
  job.window_start_s ??= null;
  job.batches = (await perfetto.query(`select count(*) n from check_slice where kind = 'batch'`))[0].n;
  const results = [];
  for (const { name, of, bad, least = 0, skip } of assertions({ job, incomplete })) {
    if (skip) { results.push({ name, state: 'skipped', words: incomplete ? 'the file is incomplete' : 'a window of the job' }); continue; }
    const [{ n }] = await perfetto.query(of);
    const rows = await perfetto.query(bad);
    const shown = rows.slice(0, 3).map(row => JSON.stringify(row)).join(' ') + (rows.length > 3 ? ` and ${rows.length - 3} more` : '');
    if (rows.length) results.push({ name, state: 'FAILED', words: shown });
    else if (n < least) results.push({ name, state: 'FAILED', words: `${n} found, at least ${least} wanted` });
    else results.push({ name, state: 'ok', words: `${n} looked at` });
  }
  return results;
}

export const COUNTS = `select (select count(*) from slice) as slices, (select count(*) from flow) as flows, (select count(*) from counter) as counters,
  (select count(*) from check_slice where kind = 'poll') as polls, (select count(*) from check_slice where kind = 'batch') as batches,
  (select count(*) from check_slice where kind = 'event') as events`;
