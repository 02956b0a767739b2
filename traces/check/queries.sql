-- Ten questions to a timeline. Paste one into the search box of Perfetto after a colon, or into its query page;
-- `traces/check/run FILE --queries` prints them all. In a `.pftrace` arguments are called `debug.X` instead of `args.X`.
-- Times in Perfetto are integer nanoseconds.

-- 1. Where does each algorithm spend its life? Much `queued in batch`: batches wait too long; `ready`: too few workers; `awaiting lane`: too few lanes.
select a.name as algorithm, s.name as state, count(distinct a.id) as calls, round(sum(s.dur) / 1e3 / count(distinct a.id), 1) as us_per_call,
  round(100.0 * sum(s.dur) / sum(sum(s.dur)) over (partition by a.name), 1) as percent_of_life
from slice a join slice s on s.parent_id = a.id and s.category = 'state'
where a.category = 'algorithm' group by a.name, s.name order by a.name, percent_of_life desc;

-- 2. How busy is each lane, and how large are its batches? A full device with small batches computes overheads.
select t.name as lane, count(*) as batches, round(100.0 * sum(s.dur) / (select max(ts + dur) - min(ts) from slice where category = 'event'), 1) as occupied_percent,
  round(avg(extract_arg(s.arg_set_id, 'args.requests')), 2) as mean_requests, round(avg(extract_arg(s.arg_set_id, 'args.rows')), 1) as mean_rows,
  round(avg(s.dur) / 1e3, 1) as mean_us, round(1.0 * sum(s.dur) / sum(extract_arg(s.arg_set_id, 'args.rows')), 1) as ns_per_row
from slice s join thread_track k on s.track_id = k.id join thread t using (utid)
where s.category = 'batch' group by t.utid order by t.tid;

-- 3. How busy is each worker, and how many of its polls are too short (< 2 us) to be worth a wake-up?
select t.name as worker, count(*) as polls, round(100.0 * sum(s.dur) / (select max(ts + dur) - min(ts) from slice where category = 'event'), 1) as busy_percent,
  sum(s.dur < 2000) as tiny_polls, round(max(s.dur) / 1e3, 1) as longest_us
from slice s join thread_track k on s.track_id = k.id join thread t using (utid) join process p using (upid)
where p.pid = 1 and s.depth = 0 and s.dur > 0 group by t.utid order by t.tid;

-- 4. Which events took longest, and what did they wait for? (States of concurrent algorithms overlap: their sum may exceed the event.)
with states as (select extract_arg(arg_set_id, 'args.event') as event, sum(iif(name = 'running', dur, 0)) / 1e3 as running_us,
    sum(iif(name = 'queued in batch', dur, 0)) / 1e3 as queued_us, sum(iif(name = 'awaiting lane', dur, 0)) / 1e3 as lane_us,
    sum(iif(name = 'on device', dur, 0)) / 1e3 as device_us, sum(iif(name = 'ready', dur, 0)) / 1e3 as ready_us,
    sum(iif(name = 'suspended', dur, 0)) / 1e3 as suspended_us from slice where category = 'state' group by event)
select e.name, round(e.dur / 1e3, 1) as us, s.*, extract_arg(e.arg_set_id, 'args.failed') as failed
from slice e left join states s on s.event = extract_arg(e.arg_set_id, 'args.event')
where e.category = 'event' order by e.dur desc limit 10;

-- 5. Why were batches closed, and how long had their oldest request waited? Many `age`: requests come too seldom for the best size.
select name as batcher, extract_arg(arg_set_id, 'args.closed') as closed, count(*) as batches, round(avg(extract_arg(arg_set_id, 'args.requests')), 2) as mean_requests,
  min(extract_arg(arg_set_id, 'args.requests')) as smallest, max(extract_arg(arg_set_id, 'args.requests')) as largest,
  round(avg(extract_arg(arg_set_id, 'args.held_us')), 1) as mean_held_us, count(extract_arg(arg_set_id, 'args.failed')) as failed
from slice where category = 'batch' group by name, closed order by name, batches desc;

-- 6. Where did a lane stand idle longest? `closed_for_us`, how long its next batch had been closed: near the gap, the host was late; far below, requests were missing.
with batches as (select t.name as lane, s.name as batcher, s.ts, lag(s.ts + s.dur) over (partition by s.track_id order by s.ts) as before, s.arg_set_id
  from slice s join thread_track k on s.track_id = k.id join thread t using (utid) where s.category = 'batch')
select lane, batcher, round(before / 1e6, 3) as since_ms, round((ts - before) / 1e3, 1) as gap_us,
  round(ts / 1e3 - extract_arg(arg_set_id, 'args.closed_us'), 1) as closed_for_us, extract_arg(arg_set_id, 'args.closed') as closed
from batches where ts > before order by gap_us desc limit 10;

-- 7. How long is it from the end of the poll that submitted to the begin of the batch? (Along the arrows: each request is one.)
select i.name as batcher, o.name as algorithm, count(*) as requests, round(avg(i.ts - o.ts - o.dur) / 1e3, 1) as mean_us,
  round(max(i.ts - o.ts - o.dur) / 1e3, 1) as longest_us, sum(i.ts - o.ts - o.dur > i.dur) as longer_than_the_batch
from flow f join slice o on o.id = f.slice_out join slice i on i.id = f.slice_in
where i.category = 'batch' and o.category != 'batch' group by i.name, o.name order by longest_us desc;

-- 8. Do batches grow or shrink in the course of the job? A tenth of the job at a time.
with span as (select min(ts) as t0, (max(ts + dur) - min(ts)) / 10 + 1 as step from slice where category = 'event')
select (ts - t0) / step + 1 as tenth, name as batcher, count(*) as batches, round(avg(extract_arg(arg_set_id, 'args.requests')), 2) as mean_requests,
  round(avg(extract_arg(arg_set_id, 'args.rows')), 1) as mean_rows, round(sum(extract_arg(arg_set_id, 'args.rows')) * 1e9 / step) as rows_per_second
from slice, span where category = 'batch' group by name, tenth order by name, tenth;

-- 9. Who was running while an algorithm was `ready` and waited for a worker? The ten longest waits, and what took the most of the workers then.
with waits as materialized (select s.ts, s.ts + s.dur as over, s.dur, a.name, extract_arg(s.arg_set_id, 'args.event') as event
    from slice s join slice a on a.id = s.parent_id where s.category = 'state' and s.name = 'ready' order by s.dur desc limit 10),
  polls as materialized (select ts, ts + dur as over, name from slice where category = 'asynchrotron' and dur > 0),
  meanwhile as (select w.*, r.name as other, sum(min(w.over, r.over) - max(w.ts, r.ts)) as overlap
    from waits w join polls r on r.ts < w.over and r.over > w.ts
    group by w.ts, w.event, w.name, r.name)
select event, name as waiting, round(dur / 1e3, 1) as waited_us, other as running, round(overlap / 1e3, 1) as running_us
from meanwhile order by dur desc, overlap desc;

-- 10. For how long was how many events in flight? Seldom at all slots: the source or a sink limits the job; always: it may like more slots.
with samples as (select c.value, lead(c.ts) over (order by c.ts, c.id) - c.ts as dur from counter c join counter_track k on k.id = c.track_id
  where k.name in ('events in flight value', 'events in flight'))
select cast(value as int) as events_in_flight, round(sum(dur) / 1e6, 3) as ms, round(100.0 * sum(dur) / (select sum(dur) from samples), 1) as percent,
  iif(value = (select extract_arg(arg_set_id, 'args.slots') from slice where name = 'trace begins'), 'all slots', '') as note
from samples where dur > 0 group by value order by value desc;
