// The stream of changes, the address, the keyboard, and what concerns the daemon itself.

let daemon = null, lastAnswer = 0, firstVersion = "", seen = null, changed = new Set(), frame = 0, wantedAgent = "";

function showDaemon() {
  if (!daemon) return;
  const { health, host, config } = daemon, facts = at("facts");
  if (!facts.firstChild) {
    facts.append(make("b"), make("span"), make("span"), make("span", "path"));
    facts.children[2].className = "age-of-daemon";
  }
  put(facts.children[0], host);
  put(facts.children[1], " · daemon " + health.version + ", pid " + health.pid);
  put(facts.children[3], config ? " · " + config : "");
  const started = new Date(daemonNow() - health.uptime_s * 1000).toISOString();
  if (!daemon.started) age(facts.children[2], daemon.started = started, " · up ");
  const notices = health.faults.map(text => ["bad", text]);
  if (health.held) notices.push(["", "Restarts are held: " + health.held]);
  const refused = health.reload_refused;
  if (refused) notices.push(["bad", "The reload at " + absolute(refused.at) + " was refused, and nothing was changed: " + refused.reason]);
  if (wantedAgent && seen === null && !agents.has(wantedAgent)) notices.push(["", "There is no agent " + wantedAgent + "."]);
  if (firstVersion !== health.version) notices.push(["", "The daemon is now version " + health.version + ": load this page again."]);
  showIfChanged(at("notices"), notices, () => {
    const box = document.createDocumentFragment();
    box.append(...notices.map(([cls, text]) => make("p", "notice " + cls, text)));
    return box;
  });
  const result = at("reload-result"), reload = health.last_reload;
  if (!result.textContent && reload) {
    put(result, "last reload " + absolute(reload.at) + ": " + reload.message);
    result.className = reload.success ? "soft" : "bad";
  } else if (!result.textContent && health.configured_at) put(result, "read " + absolute(health.configured_at));
}

function handle(events) {
  lastAnswer = Date.now();
  for (const { name, data } of events) {
    if (data.now) skew = Date.parse(data.now) - Date.now();
    if (name === "hello") {
      daemon = data;
      firstVersion = firstVersion || data.health.version;
      seen = new Set();
    } else if (name === "daemon") daemon.health = data.health;
    else if (name === "agent" || name === "change") {
      agents.set(data.agent_id, name === "agent" ? data : { ...agents.get(data.agent_id), ...data });
      if (seen) seen.add(data.agent_id);
      changed.add(data.agent_id);
    } else if (name === "gone") data.agent_ids.forEach(forget);
    else if (name === "complete") {
      for (const id of [...agents.keys()]) if (!seen.has(id)) forget(id);
      seen = null;
      answered();
    }
  }
  // One change of the page for all events of a moment.
  if (!frame && !seen) frame = requestAnimationFrame(render);
}

function render() {
  frame = 0;
  for (const id of changed) {
    const agent = agents.get(id);
    if (!agent) continue;
    showAgent(agent);
    follow(agent);
    if (id === opened) fetchDetail();
  }
  changed = new Set();
  const bad = showCounts();
  showGroups();
  arrange();
  showActions();
  showDaemon();
  document.title = (bad ? "✗ " + bad + " · " : "✓ ") + (daemon ? daemon.host : "daemon");
  if (wantedAgent && agents.has(wantedAgent)) goTo(wantedAgent);
}

function answered() {
  document.body.classList.remove("gone");
  at("gone").hidden = true;
}

function lost(error) {
  seen = null;
  document.body.classList.add("gone");
  at("gone").hidden = false;
  at("gone").dataset.reason = error instanceof Refused ? error.message : "";
  document.title = "? " + (daemon ? daemon.host : "daemon");
  showGone();
}

function showGone() {
  const banner = at("gone");
  if (banner.hidden) return;
  const what = banner.dataset.reason ? "The daemon refuses: " + banner.dataset.reason + "." : "The daemon does not answer.";
  const old = lastAnswer ? " What you see is " + span((Date.now() - lastAnswer) / 1000) + " old, from " + absolute(lastAnswer) + "." : "";
  put(banner, what + old);
}

// The address has the filter and the open agent: #agent=ID&state=failed&q=text&group=type
function readAddress() {
  const address = new URLSearchParams(location.hash.slice(1));
  filter.states = new Set((address.get("state") || "").split(",").filter(Boolean));
  filter.text = address.get("q") || "";
  filter.group = address.get("group") || "";
  wantedAgent = address.get("agent") || "";
  at("search").value = filter.text;
}

function writeAddress() {
  const address = new URLSearchParams();
  if (opened) address.set("agent", opened);
  if (filter.states.size) address.set("state", [...filter.states].join());
  if (filter.text) address.set("q", filter.text);
  if (filter.group) address.set("group", filter.group);
  history.replaceState(null, "", "#" + address);
}

function goTo(id) {
  wantedAgent = "";
  openDetail(id);
  arrange();
  const row = rows.get(id);
  if (!row.node.isConnected) return;
  row.node.scrollIntoView({ block: "start" });
  // Again when the details are there, because until then the page may be too short.
  detail.scroll = true;
  row.link.focus({ preventScroll: true });
}

function move(step) {
  const links = shown.map(agent => rows.get(agent.agent_id).link), here = links.indexOf(document.activeElement);
  const next = links[here < 0 ? (step > 0 ? 0 : -1) : here + step];
  if (next) {
    next.focus({ preventScroll: true });
    next.closest(".line").scrollIntoView({ block: "nearest" });
  } else if (here === 0 && step < 0) at("search").focus();
}

document.addEventListener("keydown", event => {
  const field = event.target.closest("input:not([type=checkbox]), select, dialog"), search = event.target === at("search");
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const row = event.target.closest(".agent");
  const keys = {
    "/": () => { if (field) return false; at("search").focus(); at("search").select(); },
    ArrowDown: () => { if (field && !search || event.target.closest("pre")) return false; move(1); },
    ArrowUp: () => { if (field && !search || event.target.closest("pre")) return false; move(-1); },
    x: () => { if (field || !row) return false; choose(row.dataset.agent, !selected.has(row.dataset.agent)); },
    Escape: () => {
      if (event.target.closest("dialog")) return false;
      if (search || filter.text && !opened) {
        at("search").value = filter.text = "";
        at("search").blur();
        filtered();
      } else if (opened) {
        const link = rows.get(opened).link;
        toggle(opened);
        link.focus();
      }
    },
    Enter: () => { if (!search || !shown.length) return false; move(1); },
  };
  if (keys[event.key] && keys[event.key]() !== false) event.preventDefault();
});

at("search").addEventListener("input", () => { filter.text = at("search").value; filtered(); });
at("group").addEventListener("change", () => { filter.group = at("group").value; filtered(); });
at("more").addEventListener("click", () => { limit += PAGE; arrange(); });
at("reload").addEventListener("click", reloadConfiguration);
at("select-shown").addEventListener("change", event => {
  for (const agent of shown) if (event.target.checked) selected.add(agent.agent_id); else selected.delete(agent.agent_id);
  showSelection();
});
addEventListener("hashchange", () => { closeDetail(); readAddress(); filtered(); if (agents.has(wantedAgent)) goTo(wantedAgent); });
at("bulk-buttons").append(...bulk.map(([, button]) => button.node), bulkMore.node);

// The height of the fixed header, so that an agent that is scrolled to is not below it.
new ResizeObserver(([{ target }]) => document.documentElement.style.setProperty("--header", target.offsetHeight + "px")).observe(document.querySelector("header"));
setInterval(() => { if (!document.hidden) document.querySelectorAll(".age").forEach(renew); showGone(); }, 1000);

readAddress();
showGroups();
showSelection();
keepOpen("/events", { handle, lost, paused: () => { seen = null; document.title = "paused · " + (daemon ? daemon.host : "daemon"); } });
