// Commands: start, stop and restart of one agent or several, where they make sense, and the reload.

const CONFIRM_MS = 4000;
const FITS = {
  start: ["stopped", "failed", "backoff"],
  stop: ["waiting", "starting", "running", "unhealthy", "backoff"],
  restart: ["starting", "running", "unhealthy"],
};
const GOAL = { start: "running", stop: "stopped", restart: "running" };
const fits = (command, agent) => FITS[command].includes(agent.state);
const capital = text => text[0].toUpperCase() + text.slice(1);

// A button that, unless it only starts something, needs a second press within CONFIRM_MS.
function commandButton(command, act) {
  const node = make("button");
  node.type = "button";
  node.dataset.command = command;
  let armed = 0, label = capital(command);
  const show = () => put(node, armed ? "Confirm: " + label.toLowerCase() : label);
  const disarm = () => {
    clearTimeout(armed);
    armed = 0;
    node.classList.remove("confirm");
    show();
  };
  node.addEventListener("click", () => {
    if (command !== "start" && !armed) {
      armed = setTimeout(disarm, CONFIRM_MS);
      node.classList.add("confirm");
      return show();
    }
    disarm();
    act();
  });
  show();
  return { node, label: text => { label = text; show(); } };
}

// Sends a command, and reports what became of it until the agent has reached its goal.
const running = new Map();
async function send(id, command, report) {
  const before = agents.get(id);
  report("…");
  try {
    const answer = await request("/agents/" + id + "/" + command, { method: "POST", signal: AbortSignal.timeout(30000) });
    report((await answer.json()).message);
    running.set(id, { command, report, pid: before && before.pid, since: before && before.since });
    follow(agents.get(id));
    return true;
  } catch (error) {
    report(command + " " + id + ": " + (error instanceof Refused ? error.message : "the daemon does not answer"));
    return false;
  }
}

function follow(agent) {
  const sent = agent && running.get(agent.agent_id);
  if (!sent || agent.since === sent.since) return;
  const reached = agent.state === GOAL[sent.command], ended = reached || agent.state === "failed";
  sent.report((reached ? "✓ " : ended ? "✗ " : "") + sent.command + ": " + agent.state + (reached ? "" : ", " + agent.cause));
  if (ended) running.delete(agent.agent_id);
}

function actionsOf(id, box) {
  const result = make("span", "soft");
  result.setAttribute("role", "status");
  const report = text => put(result, text);
  const buttons = Object.keys(FITS).map(command => [command, commandButton(command, () => send(id, command, report))]);
  box.append(...buttons.map(([, button]) => button.node), result);
  return { show: agent => buttons.forEach(([command, button]) => { button.node.hidden = !fits(command, agent); }) };
}

// Several at once.
const bulk = Object.keys(FITS).map(command => [command, commandButton(command, () => sendAll(command))]);

function choose(id, on) {
  if (on) selected.add(id);
  else selected.delete(id);
  showSelection();
}

function showSelection() {
  for (const id of selected) if (!agents.has(id)) selected.delete(id);
  const chosen = [...selected].map(id => agents.get(id)), count = chosen.length;
  for (const agent of shown) rows.get(agent.agent_id).select.checked = selected.has(agent.agent_id);
  const all = at("select-shown"), of = shown.filter(a => selected.has(a.agent_id)).length;
  all.checked = of > 0 && of === shown.length;
  all.indeterminate = of > 0 && of < shown.length;
  put(at("selected"), count ? count + " selected" + (count > of ? ", " + (count - of) + " of them not shown" : "") : "Select all shown");
  for (const [command, button] of bulk) {
    const fit = chosen.filter(agent => fits(command, agent)).length;
    button.node.hidden = !fit;
    button.label(capital(command) + " " + fit);
  }
}

async function sendAll(command) {
  const ids = [...selected].filter(id => fits(command, agents.get(id))), failed = [], result = at("bulk-result");
  let done = 0, reached = 0;
  const show = () => put(result, command + ": " + done + " of " + ids.length + " sent" + (reached ? ", " + reached + " " + GOAL[command] : "")
    + (failed.length ? ", " + failed.length + " refused: " + failed[0] : ""));
  // A few at a time, because a browser has few connections.
  const queue = [...ids], worker = async () => {
    for (let id = queue.shift(); id; id = queue.shift()) {
      let last = "";
      const ok = await send(id, command, text => {
        last = text;
        if (text.startsWith("✓")) reached++;
        show();
      });
      if (ok) done++;
      else failed.push(last);
      show();
    }
  };
  await Promise.all([worker(), worker(), worker()]);
}

async function reloadConfiguration() {
  const button = at("reload"), result = at("reload-result");
  button.disabled = true;
  put(result, "reloading …");
  result.className = "soft";
  try {
    const answer = await request("/reload", { method: "POST", signal: AbortSignal.timeout(60000) }), body = await answer.json();
    put(result, "✓ " + [body.message, ...body.warnings || []].join(" · "));
  } catch (error) {
    result.className = "bad";
    put(result, "✗ " + (error instanceof Refused ? error.message : "the daemon does not answer"));
  }
  button.disabled = false;
}
