// A screenshot as a person would want it: all groups open, zoomed to where batches are, one batch selected if asked.

// A window of some events around the middle one, moved to a batch if there is one.
const WINDOW = `
  with events as (select ts, dur, row_number() over (order by ts) n, count(*) over () m from slice where category = 'event'),
    middle as (select ts, dur from events where n = (m + 1) / 2),
    spans as (select coalesce((select dur from events order by dur limit 1 offset (select count(*) / 2 from events)),
      (select (max(ts + dur) - min(ts)) / 20 from slice)) * 5 span)
  select coalesce((select id from slice where category = 'batch' order by abs(ts - (select ts from middle)) limit 1), -1) batch,
    coalesce((select ts from slice where category = 'batch' order by abs(ts - (select ts from middle)) limit 1),
      (select ts from middle), (select (min(ts) + max(ts + dur)) / 2 from slice)) at, span from spans`;

export async function picture(perfetto, file, { select = false } = {}) {
  const { page } = perfetto;
  const [{ at, span, batch }] = await perfetto.query(WINDOW);
  await page.evaluate(({ from, to, select }) => {
    const { sidebar, trace } = window.app;
    if (sidebar.visible) sidebar.toggleVisibility();
    const open = node => { node.expand(); node.children.filter(child => child.hasChildren).forEach(open); };
    const groups = [...trace.workspace.children];
    groups.forEach(open);
    // Perfetto puts the process with the most slices first. Workers come first here, and slots last where they would push the devices off.
    const named = name => groups.find(group => group.name.startsWith(name + ' '));
    const workers = named('workers'), slots = named('events in flight');
    if (workers) trace.workspace.addChildFirst(workers);
    if (slots && (select || slots.children.length > 12)) trace.workspace.addChildLast(slots);
    trace.timeline.setViewportTime(BigInt(Math.round(from)), BigInt(Math.round(to)));
  }, { from: at - span / 2, to: at + span / 2, select });
  if (select && batch >= 0)
    await page.evaluate(id => window.app.trace.selection.selectSqlEvent('slice', id, { scrollToSelection: false }), batch);
  await page.evaluate(() => window.app.raf?.scheduleFullRedraw?.());
  await page.waitForTimeout(8000); // Perfetto draws when it has what is visible; nothing tells when that is over
  await page.screenshot({ path: file });
}
