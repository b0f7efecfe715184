// The details of the one agent that is open: checks, reasons, history, last output, live log.

const LOG_LINES = 1000, DETAIL_MS = 5000;
let detail = null;

function toggle(id) {
  if (opened === id) closeDetail();
  else openDetail(id);
  writeAddress();
}

function closeDetail() {
  if (!detail) return;
  const row = rows.get(detail.id);
  detail.stopLog();
  clearInterval(detail.timer);
  detail.node.remove();
  if (row) {
    row.link.setAttribute("aria-expanded", "false");
    row.node.classList.remove("open");
  }
  detail = opened = null;
}

function openDetail(id) {
  closeDetail();
  opened = id;
  const row = rows.get(id), node = make("div", "detail"), part = (tag, cls) => node.appendChild(make(tag, cls));
  const buttons = part("div", "buttons"), facts = part("p", "soft"), needs = part("p"), reason = part("p");
  const columns = part("div", "columns"), left = columns.appendChild(make("div")), right = columns.appendChild(make("div"));
  const section = (column, title, ...tags) => {
    const box = column.appendChild(make("section")), made = tags.map(tag => make(tag));
    box.append(make("h2", "", title), ...made);
    return [box, ...made];
  };
  const [outputBox, exit, output] = section(right, "Last exit", "p", "pre"), [, logState, log] = section(right, "Live log", "p", "pre");
  const [, checks] = section(left, "Checks", "div"), [, strip, history] = section(left, "Recent states", "div", "div");
  for (const [box, name] of [[output, "Last output of " + id], [log, "Log of " + id]]) {
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", name);
  }
  for (const box of [checks, history]) box.className = "scroll";
  strip.className = "strip";
  strip.setAttribute("role", "img");
  logState.className = "soft";
  row.node.append(node);
  row.node.classList.add("open");
  row.link.setAttribute("aria-expanded", "true");
  detail = { id, node, buttons, facts, needs, reason, checks, strip, history, outputBox, exit, output, log, logState, fetching: false };
  detail.actions = actionsOf(id, buttons);
  detail.stopLog = followLog(detail);
  detail.timer = setInterval(fetchDetail, DETAIL_MS);
  showActions();
  fetchDetail();
}

// What the stream of changes leaves out: history, output and the ages of checks.
async function fetchDetail() {
  const open = detail;
  if (!open || open.fetching || document.hidden) return;
  open.fetching = true;
  try {
    const answer = await request("/agents/" + open.id, { signal: AbortSignal.timeout(10000) }), agent = await answer.json();
    if (detail !== open) return;
    showDetail(open, agent);
    if (open.scroll) rows.get(open.id).node.scrollIntoView({ block: "start" });
    open.scroll = false;
  } catch (error) {
    if (detail === open && error instanceof Refused) put(open.facts, error.message);
  } finally {
    open.fetching = false;
  }
}

function showActions() {
  if (!detail || !agents.has(detail.id)) return;
  detail.actions.show(agents.get(detail.id));
  showNeeds(detail);
}

// What the agent depends on, and what depends on it, each with its state and a link.
function showNeeds({ id, needs }) {
  const state = of => agents.has(of) ? condition(agents.get(of)) : "unknown", withStates = ids => ids.map(of => [of, state(of)]);
  const needed = [...agents.values()].filter(agent => agent.depends_on.includes(id)).map(agent => agent.agent_id);
  const lists = [["Depends on ", withStates(agents.get(id).depends_on)], ["Needed by ", withStates(needed.sort(byId.compare))]];
  needs.hidden = lists.every(([, list]) => !list.length);
  showIfChanged(needs, lists, () => {
    const box = document.createDocumentFragment();
    for (const [title, list] of lists.filter(([, list]) => list.length)) {
      const line = make("span", "needs", title);
      list.forEach(([of, state], i) => {
        const link = make("a", "", of);
        link.href = "#agent=" + encodeURIComponent(of);
        line.append(i ? ", " : "", link, " ", make("span", TONES[state] || "busy", "(" + state + ")"));
      });
      box.append(line);
    }
    return box;
  });
}

function showDetail(open, agent) {
  const facts = [agent.pid ? "pid " + agent.pid : "no process", "in this state since " + absolute(agent.since)];
  if (agent.type) facts.push("type " + agent.type);
  facts.push(...labels(agent).map(label => label.join("=")));
  if (!agent.enabled) facts.push("disabled in the configuration");
  else if (!agent.wanted) facts.push("stopped on purpose");
  if (agent.next_start_s !== null) facts.push("restart in " + span(agent.next_start_s));
  facts.push(agent.heartbeats + " heartbeats" + (agent.heartbeats_rejected ? ", " + agent.heartbeats_rejected + " refused" : ""));
  if (agent.cpu_percent !== null) facts.push("CPU " + percent(agent.cpu_percent));
  if (agent.memory_bytes !== null) facts.push(bytes(agent.memory_bytes));
  put(open.facts, facts.join(" · "));
  showReason(open, agent);
  showIfChanged(open.checks, agent.signals, () => checksTable(agent.signals));
  showIfChanged(open.history, agent.history, () => historyTable(agent.history));
  showStrip(open.strip, agent.history);
  showExit(open, agent.last_exit);
}

// Builds a table anew only if its data has changed.
function showIfChanged(box, data, build) {
  const key = JSON.stringify(data);
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.replaceChildren(build());
}

function showReason(open, agent) {
  const parts = [], times = Object.entries(agent.restarts_by_reason || {});
  if (agent.reason) parts.push(agent.reason.code.replaceAll("_", " ") + ", " + absolute(agent.reason.at) + ": " + agent.reason.text);
  if (times.length) parts.push("Restarts: " + times.map(([code, n]) => n + " × " + code.replaceAll("_", " ")).join(", "));
  if (agent.last_rejected) parts.push("Refused heartbeat of pid " + agent.last_rejected.pid + ", " + absolute(agent.last_rejected.at) + ": " + agent.last_rejected.message);
  if (agent.hold) parts.push("Restarts for bad checks are held since " + absolute(agent.hold.at) + ": " + agent.hold.text);
  if (agent.released) parts.push("Left running by the last stop: " + agent.released);
  if (agent.log_change) parts.push(agent.log_change);
  put(open.reason, parts.join(" · "));
}

function table(heads, lines) {
  const node = make("table"), top = make("tr");
  top.append(...heads.map(text => {
    const head = make("th", "", text);
    head.scope = "col";
    return head;
  }));
  node.append(top, ...lines.map(cells => {
    const line = make("tr");
    line.append(...cells.map(cell => {
      const td = make("td");
      td.append(cell);
      return td;
    }));
    return line;
  }));
  return node;
}

const VERDICTS = { ok: ["✓", "good"], noted: ["!", "busy"], bad: ["✗", "bad"], unknown: ["?", "busy"], off: ["–", "off"] };
function checksTable(signals) {
  return table(["check", "verdict", "for", "checked", "detail"], signals.map(s => {
    const [mark, tone] = VERDICTS[s.verdict] || ["?", "busy"];
    return [s.check.replaceAll("_", " "), make("span", tone, mark + " " + s.verdict), s.for_s === null ? "" : span(s.for_s),
      s.looked_s === null ? "" : span(s.looked_s) + " ago", s.detail || ""];
  }));
}
const historyTable = history => table(["when", "from", "to", "cause"],
  [...history].reverse().map(move => [ago(move.at), move.from, move.to, move.cause]));

function showStrip(strip, history) {
  const names = [], pieces = history.map((move, i) => {
    const until = i + 1 < history.length ? Date.parse(history[i + 1].at) : daemonNow();
    const lasted = Math.max(0, (until - Date.parse(move.at)) / 1000), piece = make("i", TONES[move.to] || "busy");
    // On a logarithmic scale, so that one second of failure is visible beside a day of health.
    piece.style.flexGrow = 1 + Math.log2(1 + lasted);
    piece.title = move.to + " for " + span(lasted) + " from " + absolute(move.at) + ": " + move.cause;
    names.push(move.to + " " + span(lasted));
    return piece;
  });
  strip.replaceChildren(...pieces);
  strip.setAttribute("aria-label", "Recent states: " + (names.join(", ") || "none"));
}

function showExit(open, exit) {
  open.outputBox.hidden = !exit;
  if (!exit) return;
  const how = exit.code !== null ? "code " + exit.code : exit.signal !== null ? "signal " + exit.signal : "not seen";
  put(open.exit, "pid " + exit.pid + " ended at " + absolute(exit.at) + ": " + how + (exit.output.length ? ". Its last output:" : ""));
  put(open.output, exit.output.join("\n"));
  open.output.hidden = !exit.output.length;
}

// Lines are appended only, so that they can be selected while more come.
function followLog({ id, log, logState }) {
  let lines = 0;
  const add = text => {
    log.append(text + "\n");
    if (++lines > LOG_LINES) log.firstChild.remove();
  };
  return keepOpen("/agents/" + id + "/logs?lines=100&follow=true", {
    handle: events => {
      const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 8;
      put(logState, "New lines appear here.");
      for (const { name, data } of events) {
        if (name === "end") put(logState, data.error);
        if (name !== "output") continue;
        if (log.dataset.again) log.replaceChildren();
        delete log.dataset.again;
        if (data.skipped) add("… some output was skipped");
        data.lines.forEach(add);
      }
      if (atEnd) log.scrollTop = log.scrollHeight;
    },
    lost: error => {
      log.dataset.again = "yes";
      put(logState, error instanceof Refused ? error.message : "The log does not follow: the daemon does not answer.");
    },
    paused: () => { log.dataset.again = "yes"; },
  });
}
