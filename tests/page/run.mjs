// The page in a real browser, with a real daemon: what an operator does with 3, 40 and 300 agents.
// Usage: run.mjs TOOLS DAEMON CHROMIUM REPORT IMAGES [NAME…]: the directories and programs, and the scenarios (all without a name).

import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";

import { agents, Daemon } from "./daemon.mjs";
import { Page } from "./browser.mjs";
import { scenarios } from "./scenarios.mjs";

const [tools, program, chromium, report, images, ...names] = process.argv.slice(2);
const require = createRequire(path.join(tools, "node_modules/"));
const { chromium: browserType } = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

for (const directory of [report, images]) fs.mkdirSync(directory, { recursive: true });
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "page-"));
const browser = await browserType.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu", "--disable-quic"] });
let failed = 0, number = 0;

for (const [name, { count, token, run }] of Object.entries(scenarios)) {
  if (names.length && !names.includes(name)) continue;
  const directory = path.join(scratch, String(++number)), daemon = new Daemon(directory, program);
  fs.mkdirSync(directory);
  daemon.token = token || "";
  await daemon.choosePort();
  daemon.write(agents(count));
  const page = new Page(browser, axe, daemon, { report, images, name: String(number) });
  try {
    await daemon.start();
    await run(page, daemon);
    if (page.errors.length) throw new Error("errors in the page: " + page.errors.join("; "));
    console.log(`ok      ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED  ${name}: ${error.stack}`);
    if (page.context) await page.keep("failed").catch(() => {});
  } finally {
    await page.close();
    await daemon.stop().catch(error => { failed++; console.log(`FAILED  ${name}: the daemon does not stop: ${error}`); });
  }
}
await browser.close();
fs.rmSync(scratch, { recursive: true, force: true });
console.log(failed ? `${failed} scenarios failed: see ${report}` : "all scenarios passed");
process.exit(failed ? 1 : 0);
