// The list of agents: worst first, filtered, in groups. A row changes only where its agent has changed.

const STATES = ["failed", "unhealthy", "backoff", "down", "stopping", "waiting", "starting", "running", "stopped"];
const MARKS = { failed: "✗", unhealthy: "✗", down: "✗", backoff: "↻", stopping: "…", waiting: "…", starting: "…", running: "✓", stopped: "–" };
const TONES = { failed: "bad", unhealthy: "bad", down: "bad", backoff: "busy", stopping: "busy", waiting: "busy", starting: "busy", running: "good", stopped: "off" };
const PAGE = 300;

const agents = new Map(), rows = new Map(), headings = new Map(), selected = new Set();
const filter = { states: new Set(), text: "", group: "" };
let limit = PAGE, shown = [], opened = null, refocus = null;

// An agent that is meant to run and does not is down. That is not a state of its own, but another problem.
const condition = agent => agent.state === "stopped" && agent.wanted && agent.enabled ? "down" : agent.state;
const problem = agent => !["running", "stopped"].includes(condition(agent));
const troubled = agent => agent.signals.some(s => s.verdict === "bad" || s.verdict === "noted");
const rank = agent => STATES.indexOf(condition(agent)) * 2 - (troubled(agent) ? 1 : 0);
const byId = new Intl.Collator("en", { numeric: true });
const worst = (a, b) => rank(a) - rank(b) || byId.compare(a.agent_id, b.agent_id);
const labels = agent => Object.entries(agent.labels || {});

const words = agent => [agent.agent_id, agent.name, agent.type, agent.why, condition(agent), ...labels(agent).map(l => l.join("="))]
  .join(" ").toLowerCase();
const matches = agent => (!filter.states.size || filter.states.has(condition(agent)))
  && filter.text.toLowerCase().split(" ").every(word => words(agent).includes(word));

function groupOf(agent) {
  if (filter.group === "state") return condition(agent);
  if (filter.group === "type") return agent.type || "no type";
  return (agent.labels || {})[filter.group.slice(6)] || "no label “" + filter.group.slice(6) + "”";
}

function newRow(id) {
  const node = make("li", "agent"), line = make("div", "line"), select = make("input"), link = make("a", "", id);
  select.type = "checkbox";
  select.setAttribute("aria-label", "Select " + id);
  select.addEventListener("change", () => choose(id, select.checked));
  link.href = "#agent=" + encodeURIComponent(id);
  link.setAttribute("aria-expanded", "false");
  const part = cls => line.appendChild(make("span", cls));
  line.append(select);
  const state = part("state"), mark = make("span", "mark"), word = make("span", "word"), long = make("span", "soft");
  mark.setAttribute("aria-hidden", "true");
  state.append(mark, word, " ", long);
  const name = part("name"), extra = make("span", "soft");
  name.append(link, extra);
  const why = part("why"), restarts = part("number restarts"), heartbeat = part("number heartbeat");
  const cpu = part("number cpu"), memory = part("number memory");
  const checks = make("b", "bad"), reason = make("span");
  why.append(checks, reason);
  node.append(line);
  node.dataset.agent = id;
  link.addEventListener("click", event => {
    event.preventDefault();
    event.stopPropagation();
    toggle(id);
  });
  line.addEventListener("click", event => {
    if (event.target !== select && !String(getSelection())) toggle(id);
  });
  return { node, line, link, select, mark, word, long, extra, checks, reason, restarts, heartbeat, cpu, memory, key: "" };
}

function fillRow(row, agent) {
  const state = condition(agent), tone = TONES[state] || "busy";
  row.node.dataset.state = agent.state;
  row.node.className = "agent " + state + (state === "down" ? " stopped" : "") + (opened === agent.agent_id ? " open" : "");
  row.mark.className = "mark " + tone;
  row.word.className = "word " + tone;
  put(row.mark, MARKS[state] || "…");
  put(row.word, state);
  age(row.long, agent.since);
  const name = agent.name && agent.name !== agent.agent_id ? " " + agent.name : "";
  put(row.extra, name + (agent.hold ? " (restarts held)" : ""));
  const bad = agent.signals.filter(s => s.verdict === "bad" || s.verdict === "noted").map(s => s.check.replaceAll("_", " "));
  put(row.checks, bad.length ? bad.join(", ") + ": " : "");
  put(row.reason, agent.why);
  put(row.restarts, agent.restarts ? String(agent.restarts) : "");
  if (agent.last_heartbeat) age(row.heartbeat, agent.last_heartbeat);
  else noAge(row.heartbeat, agent.heartbeats ? "none yet" : "");
  put(row.cpu, agent.cpu_percent === null ? "" : percent(agent.cpu_percent));
  put(row.memory, agent.memory_bytes === null ? "" : bytes(agent.memory_bytes));
}

// Shows an agent. Returns whether its place in the list may have changed.
function showAgent(agent) {
  let row = rows.get(agent.agent_id);
  if (!row) rows.set(agent.agent_id, row = newRow(agent.agent_id));
  fillRow(row, agent);
  const key = [rank(agent), matches(agent), filter.group && groupOf(agent)].join();
  const moved = row.key !== key;
  row.key = key;
  if (moved) {
    if (row.node.contains(document.activeElement)) refocus = document.activeElement;
    row.node.remove();
  }
  return moved;
}

function forget(id) {
  agents.delete(id);
  selected.delete(id);
  if (opened === id) closeDetail();
  const row = rows.get(id);
  if (row) row.node.remove();
  rows.delete(id);
}

function heading(name, members) {
  let node = headings.get(name);
  if (!node) {
    headings.set(name, node = make("li", "heading"));
    node.append(make("h2"), make("span", "soft"));
  }
  put(node.firstChild, name);
  const counts = STATES.map(state => [state, members.filter(a => condition(a) === state).length]).filter(([, n]) => n);
  put(node.lastChild, counts.map(([state, n]) => n + " " + state).join(", "));
  return node;
}

// Puts the rows in order. Rows that have not moved are not touched, so that a selection in them stays.
function arrange() {
  const wanted = [...agents.values()].filter(matches).sort(worst), nodes = [];
  if (opened && wanted.findIndex(a => a.agent_id === opened) >= limit) limit = wanted.length;
  shown = wanted.slice(0, limit);
  if (filter.group) {
    const groups = new Map();
    for (const agent of shown) {
      const name = groupOf(agent);
      groups.set(name, [...groups.get(name) || [], agent]);
    }
    for (const [name, members] of groups) nodes.push(heading(name, members), ...members.map(a => rows.get(a.agent_id).node));
    shown = [...groups.values()].flat();
  } else nodes.push(...shown.map(a => rows.get(a.agent_id).node));
  const list = at("agents"), keep = new Set(nodes);
  for (const node of [...list.children]) if (!keep.has(node)) node.remove();
  let next = list.firstChild;
  for (const node of nodes) {
    if (node === next) next = next.nextSibling;
    else list.insertBefore(node, next);
  }
  if (refocus && list.contains(refocus)) refocus.focus({ preventScroll: true });
  refocus = null;
  const hidden = wanted.length - shown.length;
  at("rest").hidden = hidden === 0;
  put(at("more"), "Show " + hidden + " more");
  at("empty").hidden = shown.length > 0;
  put(at("empty"), agents.size ? "No agent matches the filter." : "No agent is configured.");
  showSelection();
}

function showCounts() {
  const counts = new Map(STATES.map(state => [state, 0]));
  for (const agent of agents.values()) counts.set(condition(agent), (counts.get(condition(agent)) || 0) + 1);
  const box = at("states");
  if (!box.firstChild) for (const state of ["all", ...STATES]) box.append(stateButton(state));
  for (const button of box.children) {
    const state = button.dataset.state, count = state === "all" ? agents.size : counts.get(state);
    const on = state === "all" ? !filter.states.size : filter.states.has(state);
    put(button.lastChild, String(count));
    button.setAttribute("aria-pressed", String(on));
    button.hidden = !count && !on && state !== "all";
  }
  const bad = [...agents.values()].filter(problem).length, total = agents.size;
  put(at("sum"), !total ? "No agents" : bad ? bad + " of " + total + " agents need attention" : "All " + total + " agents are well");
  at("sum").parentNode.classList.toggle("bad", bad > 0);
  return bad;
}

function stateButton(state) {
  const button = make("button"), mark = make("span", "mark " + (TONES[state] || ""), MARKS[state] || "");
  button.type = "button";
  button.dataset.state = state;
  mark.setAttribute("aria-hidden", "true");
  if (state !== "all") button.append(mark);
  button.append(make("span", "", state + " "), make("b"));
  button.addEventListener("click", () => {
    if (state === "all") filter.states.clear();
    else if (!filter.states.delete(state)) filter.states.add(state);
    filtered();
  });
  return button;
}

function showGroups() {
  const keys = new Set([...agents.values()].flatMap(a => Object.keys(a.labels || {})));
  const options = [["", "none"], ["state", "state"], ["type", "type"], ...[...keys].sort().map(key => ["label:" + key, "label " + key])];
  const box = at("group"), known = JSON.stringify(options);
  if (box.dataset.known !== known) {
    box.dataset.known = known;
    box.replaceChildren(...options.map(([value, text]) => {
      const option = make("option", "", text);
      option.value = value;
      return option;
    }));
  }
  box.value = filter.group;
}

// The filter has changed.
function filtered() {
  limit = PAGE;
  for (const agent of agents.values()) showAgent(agent);
  showCounts();
  showGroups();
  arrange();
  writeAddress();
}
