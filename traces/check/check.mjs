// One line for each thing that must be true of each file; exit code 1 if one is not.
import fs from 'node:fs';
import path from 'node:path';
import { COUNTS, examine } from './assertions.mjs';
import { Perfetto } from './perfetto.mjs';
import { picture } from './picture.mjs';

/** The queries of queries.sql: `{ title, sql }`. */
export function queries() {
  const text = fs.readFileSync(path.join(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), 'queries.sql'), 'utf8');
  return text.split(/;\s*\n/).filter(part => /^\s*select|^\s*with/im.test(part)).map(sql => ({ title: sql.match(/^-- (\d+\. .*)/m)?.[1] ?? '', sql }));
}

function options(words) {
  const chosen = { files: [], screenshot: null, select: false, queries: false, incomplete: false };
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word === '--screenshot') chosen.screenshot = words[++i];
    else if (['--select', '--queries', '--incomplete'].includes(word)) chosen[word.slice(2)] = true;
    else if (word.startsWith('-')) return null;
    else chosen.files.push(word);
  }
  return chosen.files.length && chosen.screenshot !== undefined ? chosen : null;
}

/** `out.png` for one file; for several `out.NAME.png`. */
const shot = ({ screenshot, files }, file) => files.length === 1 ? screenshot
  : screenshot.replace(/(\.png)?$/, `.${path.basename(file).replace(/\.(json|json\.gz|pftrace)$/, '')}.png`);

async function check(perfetto, file, chosen) {
  console.log(`${file}`);
  try {
    await perfetto.load(file);
  } catch (error) {
    console.log(`  FAILED   opens in Perfetto: ${error.message.split('\n')[0]}`);
    return 1;
  }
  console.log('  ok       opens in Perfetto');
  const results = await examine(perfetto, chosen);
  for (const { name, state, words } of results) console.log(`  ${state.padEnd(8)} ${name}: ${words}`);
  const [counts] = await perfetto.query(COUNTS);
  console.log(`  ${Object.entries(counts).map(([name, n]) => `${n} ${name}`).join(', ')}`);
  let failed = results.filter(r => r.state === 'FAILED').length;
  if (chosen.queries) for (const { title, sql } of queries()) {
    console.log(`\n${title}`);
    await perfetto.query(sql).then(rows => console.table(rows.slice(0, 20)), error => { failed += 1; console.log(`  FAILED   ${error.message}`); });
  }
  if (chosen.screenshot) {
    await picture(perfetto, shot(chosen, file), chosen);
    console.log(`  screenshot in ${shot(chosen, file)}`);
  }
  return failed;
}

/** Runs `body` with a browser and ends the process, whatever happens. */
export async function withPerfetto(body) {
  const { PERFETTO_WEB: web, PERFETTO_NODE: modules, PERFETTO_CHROMIUM: chromium } = process.env;
  let code = 1;
  try {
    const perfetto = await Perfetto.start({ web, modules, chromium });
    console.log(`Perfetto UI ${perfetto.version}, Chromium ${perfetto.chromium}`);
    code = await body(perfetto).catch(error => { console.log(`FAILED: ${error.stack}`); return 1; });
    await Promise.race([perfetto.close(), new Promise(done => setTimeout(done, 10000))]);
  } catch (error) {
    console.log(`FAILED: Perfetto does not start: ${error.message}`);
  }
  process.exit(code);
}

if (process.argv[1] && path.resolve(process.argv[1]) === new URL(import.meta.url).pathname) {
  const chosen = options(process.argv.slice(2));
  if (!chosen) {
    console.log('traces/check/run FILE... [--screenshot OUT.png [--select]] [--queries] [--incomplete]');
    process.exit(2);
  }
  withPerfetto(async perfetto => {
    let failed = 0;
    for (const file of chosen.files) failed += await check(perfetto, file, chosen);
    console.log(failed ? `${failed} FAILED` : `all ok, ${chosen.files.length} file${chosen.files.length > 1 ? 's' : ''}`);
    return failed ? 1 : 0;
  });
}
