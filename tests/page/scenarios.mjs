// What an operator does with the page.

import assert from "node:assert/strict";

import { agents, chain } from "./daemon.mjs";
import { NARROW, WIDE } from "./browser.mjs";

const ORDER = ["failed", "unhealthy", "backoff", "stopping", "waiting", "starting", "running", "stopped"];
const settled = list => list.every(a => !/^(crash|flaky|sick|web|talker|waits)/.test(a.agent_id)
  || a.state === { crash: "failed", flaky: "backoff", sick: "unhealthy", web: "running", talker: "running", waits: "waiting" }[a.agent_id.split("-")[0]]);
const count = (list, state) => list.filter(a => a.state === state).length;

// All states at once: one agent ignores the stop signal.
async function allStates(daemon) {
  const list = await daemon.until(settled, "each agent in its state");
  await daemon.post("agents/" + list.find(a => a.agent_id.startsWith("deaf")).agent_id + "/stop");
  return daemon.until(l => count(l, "stopping") === 1, "one agent is stopping");
}

async function views(page, name) {
  for (const [size, width] of [[WIDE, 1280], [NARROW, 390]]) {
    for (const scheme of ["light", "dark"]) {
      await page.show("", { size, scheme });
      await page.fits();
      await page.accessible();
      await page.keep(`${name}-${width}-${scheme}`);
    }
  }
}

export const scenarios = {
  "three agents: details, commands and the live log": {
    count: 3,
    async run(page, daemon) {
      daemon.write(agents(3, [agents(40)[1]]));
      await daemon.post("reload");
      await daemon.until(l => l.length === 4 && l.every(a => a.state === "running"), "all run");
      await page.show();
      await page.textIs("#sum", /^All 4 agents are well$/);
      assert.match(await page.page.title(), /^✓ /);
      assert.match(await page.text("#facts"), /daemon \d+\.\d+\.\d+, pid \d+ · up \d+ s · \/.*daemon\.yaml$/);
      assert.match(await page.row("web-000").locator(".state .age").getAttribute("title"), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d$/);

      await page.line("talker-001").locator(".why").click();
      for (const check of ["process", "heartbeat", "http", "status file", "resources"]) {
        await page.row("talker-001").locator("td", { hasText: new RegExp(`^${check}$`) }).waitFor();
      }
      await page.until(() => /line 12 <b id=markup>of output/.test([...document.querySelectorAll(".detail pre")].at(-1).textContent));
      assert.equal(await page.page.locator("#markup").count(), 0, "output is no markup");
      await page.keep("details");

      // A selection stays while the page goes on.
      const text = await page.page.evaluate(() => {
        const line = [...document.querySelectorAll(".detail pre")].at(-1).firstChild;
        getSelection().setBaseAndExtent(line, 0, line, 6);
        return String(getSelection());
      });
      await page.until(() => /line 25 /.test([...document.querySelectorAll(".detail pre")].at(-1).textContent));
      assert.equal(await page.page.evaluate(() => String(getSelection())), text);
      await page.page.evaluate(() => getSelection().removeAllRanges());

      // Only commands that make sense are offered, and their result is told.
      const detail = page.row("talker-001").locator(".detail"), button = command => detail.locator(`button[data-command=${command}]`);
      assert.deepEqual([await button("start").isVisible(), await button("stop").isVisible()], [false, true]);
      await page.press(button("stop"));
      await page.textIs(".detail .buttons", /✓ stop: stopped/);
      await page.until(() => document.querySelector(".detail [data-command=stop]").hidden);
      assert.deepEqual([await button("start").isVisible(), await button("stop").isVisible()], [true, false]);
      await page.press(button("start"));
      await page.textIs(".detail .buttons", /✓ start: running/);
      assert.match(await page.row("talker-001").locator(".detail").textContent(), /start command/);
    },
  },

  "forty agents: every state, filter, search, groups and keyboard": {
    count: 40,
    async run(page, daemon) {
      const list = await allStates(daemon);
      await views(page, "all");
      await page.show();
      const bad = list.filter(a => !["running", "stopped"].includes(a.state)).length;
      await page.textIs("#sum", new RegExp(`^${bad} of 40 agents need attention$`));
      assert.match(await page.page.title(), new RegExp(`^✗ ${bad} `));

      // Worst first.
      const states = await page.page.locator(".agent").evaluateAll(rows => rows.map(row => row.dataset.state));
      const ranks = states.map(state => ORDER.indexOf(state));
      assert.deepEqual(ranks, [...ranks].sort((a, b) => a - b), states.join());
      assert.equal(states[0], "failed");

      // Counters by state count, and filter.
      for (const state of new Set(states)) {
        const counter = page.page.locator(`#states [data-state=${state}]`);
        assert.equal((await counter.textContent()).replace(/\D/g, ""), String(count(list, state)), state);
        await counter.click();
        assert.equal((await page.ids()).length, count(list, state), state);
        await counter.click();
      }
      assert.equal((await page.ids()).length, 40);

      // Search: in the ID, in labels, and in reasons.
      await page.page.fill("#search", "web 03");
      assert.ok((await page.ids()).every(id => /^web-03/.test(id)));
      assert.match(page.page.url(), /q=web\+03/);
      await page.page.fill("#search", "zone=east web");
      assert.ok((await page.ids()).length > 10);
      await page.page.fill("#search", "no such thing");
      await page.textIs("#empty", /No agent matches/);
      await page.page.fill("#search", "");

      // What an agent waits for is seen in its row, and is one press away.
      const waits = page.row("waits-008");
      assert.match(await waits.locator(".why").textContent(), /^waits for crash-002, which is failed/);
      await page.line("waits-008").locator(".why").click();
      assert.match(await waits.locator(".detail").textContent(), /Depends on crash-002 \(failed\)/);
      const offered = await waits.locator(".detail .buttons button:visible").allTextContents();
      assert.deepEqual(offered, ["Stop"]);
      await waits.locator(".needs a").click();
      await page.textIs('.agent.open[data-agent="crash-002"] .needs', /^Needed by waits-008 \(waiting\)$/);
      await page.line("crash-002").locator(".why").click();

      // Groups.
      for (const [group, first] of [["state", "failed"], ["type", "custom"], ["label:zone", "west"]]) {
        await page.page.selectOption("#group", group);
        assert.equal(await page.page.locator(".heading h2").first().textContent(), first);
      }
      assert.equal(await page.page.locator(".heading").count(), 2, "east and west");
      await page.keep("groups");
      await page.page.selectOption("#group", "");

      // Keyboard alone.
      await page.page.locator("#search").blur();
      await page.page.keyboard.press("/");
      await page.page.keyboard.type("crash");
      await page.page.keyboard.press("ArrowDown");
      await page.page.keyboard.press("Enter");
      await page.textIs(".detail", /cannot open database: <img id=evil src=x>/);
      assert.equal(await page.page.locator("#evil").count(), 0, "output is no markup");
      const outline = await page.page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
      assert.equal(outline, "solid", "the focus is visible");
      await page.page.keyboard.press("x");
      await page.textIs("#selected", /1 selected/);
      await page.page.keyboard.press("x");
      await page.page.keyboard.press("Escape");
      assert.equal(await page.page.locator(".detail").count(), 0);
      await page.page.keyboard.press("Escape");
      assert.equal((await page.ids()).length, 40, "Escape clears the search");
    },
  },

  "forty agents: a deep link opens its agent": {
    count: 40,
    async run(page, daemon) {
      await allStates(daemon);
      for (const size of [WIDE, NARROW]) {
        await page.show("#agent=web-039", { size });
        await page.row("web-039").locator(".detail").waitFor();
        await page.until(() => {
          const { top } = document.querySelector(".agent.open").getBoundingClientRect();
          return top >= 0 && top < innerHeight / 2;
        });
        const covered = await page.page.evaluate(() => {
          const link = document.querySelector(".agent.open .name a"), { x, y } = link.getBoundingClientRect();
          return document.elementFromPoint(x + 3, y + 3) === link;
        });
        assert.ok(covered, "nothing covers the agent");
        await page.fits();
        await page.accessible();
      }
      await page.open("#agent=unknown-1");
      await page.textIs("#notices", /There is no agent unknown-1/);
      await page.show("#state=failed,backoff&group=state");
      assert.deepEqual((await page.ids()).map(id => id.split("-")[0]), ["crash", "flaky"]);
    },
  },

  "forty agents: several at once": {
    count: 40,
    async run(page, daemon) {
      const before = await allStates(daemon);
      await page.show("#q=web");
      await page.page.click("#select-shown");
      const chosen = (await page.ids()).length;
      await page.textIs("#selected", new RegExp(`^${chosen} selected$`));
      const restart = page.page.locator("#bulk [data-command=restart]");
      assert.equal(await restart.textContent(), `Restart ${chosen}`);
      assert.equal(await page.page.locator("#bulk [data-command=start]").isVisible(), false);
      await page.press(restart);
      await page.textIs("#bulk-result", new RegExp(`restart: ${chosen} of ${chosen} sent, ${chosen} running`));
      const pids = new Map(before.map(a => [a.agent_id, a.pid]));
      await daemon.until(l => l.every(a => !a.agent_id.startsWith("web") || (a.state === "running" && a.pid !== pids.get(a.agent_id))), "all restarted");
      await page.page.click("#select-shown");
      await page.textIs("#selected", /^Select all shown$/);
    },
  },

  "forty agents: a reload adds and removes agents, and a wrong file is refused": {
    count: 40,
    async run(page, daemon) {
      await allStates(daemon);
      await page.show();
      daemon.write(agents(40, [{ ...agents(3)[0], id: "added-1", name: "<img id=evil src=x>" }]));
      await page.page.click("#reload");
      await page.row("added-1").waitFor();
      await page.textIs("#reload-result", /^✓ .*1 added/);
      assert.equal(await page.page.locator("#evil").count(), 0, "a name is no markup");
      daemon.write(agents(40));
      await page.page.click("#reload");
      await page.row("added-1").waitFor({ state: "detached" });
      daemon.write([{ ...agents(3)[0], binary_pth: "/bin/true" }]);
      await page.page.click("#reload");
      await page.textIs("#reload-result", /^✗ .*binary_pth/s);
      await page.textIs("#notices", /was refused, and nothing was changed.*binary_pth/s);
      assert.equal((await page.ids()).length, 40);
      await page.accessible();
    },
  },

  "forty agents: the daemon is gone and comes back": {
    count: 40,
    async run(page, daemon) {
      await allStates(daemon);
      await page.show();
      await daemon.kill();
      await page.textIs("#gone", /^The daemon does not answer\. What you see is \d+ s old, from \d{4}-/);
      assert.equal(await page.page.locator("main").evaluate(node => getComputedStyle(node).opacity), "0.4", "what is old is dimmed");
      assert.match(await page.page.title(), /^\? /);
      await page.image("page-gone.png");
      await daemon.start();
      await page.page.locator("#gone").waitFor({ state: "hidden" });
      await page.textIs("#sum", /need attention$/);
      assert.equal((await page.ids()).length, 40);
    },
  },

  "three agents: a token is asked for once": {
    count: 3,
    token: "s3cret",
    async run(page) {
      await page.open();
      await page.page.locator("#ask[open]").waitFor();
      await page.accessible();
      await page.page.fill("#token", "wrong");
      await page.page.keyboard.press("Enter");
      await page.page.locator("#ask[open]").waitFor();
      await page.page.fill("#token", "s3cret");
      await page.page.keyboard.press("Enter");
      await page.page.locator(".agent").first().waitFor();
      await page.line("web-000").locator(".why").click();
      await page.textIs(".detail", /New lines appear here|process/);
      await page.press(page.row("web-000").locator("[data-command=restart]"));
      await page.textIs(".detail .buttons", /✓ restart: running/);
    },
  },

  "three agents: hold, release, and stop with dependents": {
    count: 3,
    async run(page, daemon) {
      const ids = ["db", "api", "site"], are = state => l => l.filter(a => ids.includes(a.agent_id) && a.state === state).length === 3;
      daemon.write(agents(3, chain(ids)));
      await daemon.post("reload");
      await daemon.until(are("running"), "all run");
      await page.show();
      const button = (id, command) => page.row(id).locator(`.detail button[data-command=${command}]`);
      const bulk = command => page.page.locator(`#bulk [data-command=${command}]`);

      // A stop that is refused because others need the agent, at both widths.
      for (const [size, width] of [[WIDE, 1280], [NARROW, 390]]) {
        await page.show("#agent=db", { size });
        await page.textIs(".detail .needs", /^Needed by api \(running\)$/);
        assert.equal(await button("db", "stop-with-dependents").isVisible(), false);
        await page.press(button("db", "stop"));
        await page.textIs(".detail .buttons", /db is not stopped: 2 of the agents that depend on it run: api, site/);
        assert.equal(await button("db", "stop-with-dependents").textContent(), "Stop with 2 dependents: api, site");
        await page.fits();
        await page.accessible();
        await page.keep(`dependents-${width}`);
      }
      await page.press(button("db", "stop-with-dependents"));
      await page.textIs(".detail .buttons", /✓ stop: stopped/);
      await daemon.until(are("stopped"), "all are stopped");
      assert.equal(await button("db", "stop-with-dependents").isVisible(), false);
      await daemon.post("agents/site/start");
      await daemon.until(are("running"), "all run again");

      // Several: each stops after those that need it, and what else needs them is offered.
      await page.show();
      for (const id of ["db", "api"]) await page.row(id).locator("input").check();
      await page.press(bulk("stop"));
      await page.textIs("#bulk-result", /^stop: 0 of 2 sent, 2 refused: /);
      assert.equal(await bulk("stop-with-dependents").textContent(), "Stop 2 with 1 dependent: site");
      await page.keep("dependents-bulk");
      await page.press(bulk("stop-with-dependents"));
      await page.textIs("#bulk-result", /^stop: 2 of 2 sent, 2 stopped$/);
      await daemon.until(are("stopped"), "all are stopped");
      await daemon.post("agents/site/start");
      await daemon.until(are("running"), "all run again");
      await page.row("site").locator("input").check();
      await page.press(bulk("stop"));
      await page.textIs("#bulk-result", /^stop: 3 of 3 sent, 3 stopped$/);
      assert.equal(await bulk("stop-with-dependents").isVisible(), false);

      // Holds, of one and of several.
      await page.show("#agent=web-000&q=web");
      assert.deepEqual([await button("web-000", "hold").isVisible(), await button("web-000", "release").isVisible()], [true, false]);
      await button("web-000", "hold").click();
      await page.textIs(".detail .buttons", /✓ hold: held/);
      await page.textIs(".agent.open .name", /\(restarts held\)/);
      await page.textIs(".detail", /Restarts for bad checks are held since .*: POST \/agents\/web-000\/hold from /);
      assert.deepEqual([await button("web-000", "hold").isVisible(), await button("web-000", "release").isVisible()], [false, true]);
      await page.accessible();
      await page.page.click("#select-shown");
      assert.deepEqual([await bulk("hold").textContent(), await bulk("release").textContent()], ["Hold 2", "Release 1"]);
      await bulk("hold").click();
      await page.textIs("#bulk-result", /^hold: 2 of 2 sent, 2 held$/);
      await page.keep("held");
      await bulk("release").click();
      await page.textIs("#bulk-result", /^release: 3 of 3 sent, 3 released$/);
      assert.ok((await daemon.get("agents")).agents.every(a => !a.hold), "none is held");
    },
  },

  "three hundred agents: what is wrong is seen without scrolling, and changes cost little": {
    count: 300,
    async run(page, daemon) {
      const list = await allStates(daemon), bad = list.filter(a => !["running", "stopped"].includes(a.state));
      await views(page, "all");
      await page.show();
      const seen = await page.page.locator(".agent").evaluateAll(rows => rows.filter(row => {
        const { top, bottom } = row.getBoundingClientRect();
        return top >= 0 && bottom <= innerHeight;
      }).map(row => row.dataset.agent));
      assert.deepEqual(bad.map(a => a.agent_id).filter(id => !seen.includes(id)), [], "in a window of 1280 × 800");
      await page.image("page.png");
      await page.show("", { size: NARROW });
      await page.image("page-narrow.png");

      // Nothing changes, so next to nothing is sent.
      const answer = await fetch(daemon.url + "events"), reader = answer.body.getReader(), decoder = new TextDecoder();
      let text = "";
      while (!text.includes("event: complete\n")) text += decoder.decode((await reader.read()).value, { stream: true });
      const whole = text.length, { pid } = list.find(a => a.agent_id === "web-299");
      text = "";
      process.kill(pid, "SIGKILL");
      // The end of one process is at most a few events.
      while (!/"state":"(backoff|starting|running)"/.test(text)) text += decoder.decode((await reader.read()).value, { stream: true });
      await reader.cancel();
      console.log(`        ${whole} bytes for 300 agents, then ${text.length} bytes for one restart`);
      assert.ok(text.length < whole / 10, `${text.length} of ${whole} bytes`);

      // One row moves, and the others stay the same elements.
      await page.show();
      await page.page.evaluate(() => { for (const row of document.querySelectorAll(".agent")) row.kept = true; });
      await daemon.post("agents/web-150/stop");
      await page.until(() => document.querySelector('[data-agent="web-150"]').dataset.state === "stopped");
      assert.equal(await page.page.evaluate(() => [...document.querySelectorAll(".agent")].filter(row => !row.kept).length), 0);
    },
  },
};
