// One page of the browser, and what the scenarios ask of it.

import assert from "node:assert/strict";
import path from "node:path";

export const WIDE = { width: 1280, height: 800 };
export const NARROW = { width: 390, height: 844 };
const ROW = ".agent[data-agent]";

export class Page {
  constructor(browser, axe, daemon, { report, images, name }) {
    Object.assign(this, { browser, axe, daemon, report, images, name, errors: [], received: 0 });
  }

  // Opens the page, and waits until it shows the daemon.
  async open(fragment = "", { size = WIDE, scheme = "light" } = {}) {
    await this.close();
    this.context = await this.browser.newContext({ viewport: size, colorScheme: scheme, reducedMotion: "reduce", timezoneId: "UTC", locale: "en-GB" });
    this.page = await this.context.newPage();
    this.page.setDefaultTimeout(30000);
    this.page.on("pageerror", error => this.errors.push(String(error)));
    this.page.on("console", message => {
      // The browser reports each answer with an error code, also those that the scenario wants.
      const isAnswer = /Failed to load resource|net::ERR_/.test(message.text());
      if (message.type() === "error" && !isAnswer) this.errors.push(message.text());
    });
    await this.page.goto(this.daemon.url + fragment);
  }

  // The same, and waits until all agents are shown.
  async show(fragment, options) {
    await this.open(fragment, options);
    await this.page.waitForSelector(ROW);
    return this;
  }

  async close() {
    if (this.context) await this.context.close();
    this.context = null;
  }

  row(id) { return this.page.locator(`${ROW}[data-agent="${id}"]`); }
  line(id) { return this.row(id).locator("> .line"); }

  // The IDs of the rows, from the top.
  ids() { return this.page.locator(ROW).evaluateAll(rows => rows.map(row => row.dataset.agent)); }

  // Waits until `ask` in the page gives a true value.
  until(ask, argument) { return this.page.waitForFunction(ask, argument, { polling: 50 }); }

  async text(selector) { return (await this.page.locator(selector).textContent()).trim(); }

  async textIs(selector, pattern) {
    await this.until(([css, source]) => new RegExp(source).test(document.querySelector(css)?.textContent ?? ""), [selector, pattern.source]);
  }

  // Presses a button, and once more if it asks for that.
  async press(button) {
    await button.click();
    if (await button.evaluate(node => node.classList.contains("confirm"))) await button.click();
  }

  // Nothing is wider than the window.
  async fits() {
    const [inner, outer] = await this.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(inner <= outer, `the page is ${inner} px wide in a window of ${outer} px`);
  }

  // No known barrier for people who use a keyboard, a screen reader or a small contrast.
  async accessible() {
    // The policy of the page forbids scripts of others, so this one is evaluated through the debugger.
    await this.page.evaluate(this.axe);
    const { violations } = await this.page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    const found = violations.map(v => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map(n => n.target + " " + n.failureSummary).join(" | ")}`);
    assert.deepEqual(found, [], "axe-core");
  }

  // Keeps what the page shows in the report.
  keep(what) { return this.page.screenshot({ path: path.join(this.report, `${this.name}-${what}.png`) }); }

  // Keeps it as an image of the documents, with the host and the path of an example.
  async image(file) {
    await this.page.evaluate(() => {
      document.querySelector("#facts b").textContent = "host-1";
      document.querySelector("#facts .path").textContent = " · /etc/ops-agent/daemon.yaml";
    });
    await this.page.screenshot({ path: path.join(this.images, file) });
  }
}
