// Commands for one agent or several, where they make sense, and the reload.

const CONFIRM_MS = 4000, NAMED = 5;
const UP = ["starting", "running", "unhealthy"];
const isIn = (...states) => agent => states.includes(agent.state);
// Where each command makes sense, and what it leads to. What ends a process needs a second press.
const COMMANDS = {
  start: { fits: isIn("stopped", "failed", "backoff"), goal: "running", reached: isIn("running") },
  stop: { fits: isIn("waiting", ...UP, "backoff"), goal: "stopped", reached: isIn("stopped"), confirm: true },
  restart: { fits: isIn(...UP), goal: "running", reached: isIn("running"), confirm: true },
  hold: { fits: agent => !agent.hold && UP.includes(agent.state), goal: "held", reached: agent => Boolean(agent.hold), keeps: true },
  release: { fits: agent => Boolean(agent.hold), goal: "released", reached: agent => !agent.hold, keeps: true },
};
const fits = (command, agent) => COMMANDS[command].fits(agent);
const capital = text => text[0].toUpperCase() + text.slice(1);
const named = ids => ids.slice(0, NAMED).join(", ") + (ids.length > NAMED ? " and " + (ids.length - NAMED) + " more" : "");

// A button that may need a second press within CONFIRM_MS.
function commandButton(command, act) {
  const node = make("button");
  node.type = "button";
  node.dataset.command = command;
  let armed = 0, label = capital(command);
  const show = () => put(node, armed ? "Confirm: " + label[0].toLowerCase() + label.slice(1) : label);
  const disarm = () => {
    clearTimeout(armed);
    armed = 0;
    node.classList.remove("confirm");
    show();
  };
  node.addEventListener("click", () => {
    if (COMMANDS[command].confirm && !armed) {
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

// What has to end before these agents: all that depend on them and are meant to run.
function dependentsOf(ids) {
  const found = new Set(ids), needs = agent => agent.depends_on.some(id => found.has(id));
  for (let size = 0; size < found.size;) {
    size = found.size;
    for (const agent of agents.values()) if (needs(agent)) found.add(agent.agent_id);
  }
  const stays = id => agents.has(id) && agents.get(id).wanted && agents.get(id).state !== "failed";
  return [...found].filter(id => !ids.includes(id) && stays(id)).sort(byId.compare);
}

// Offers to stop agents with their dependents, if a stop was refused because these run.
function dependentsButton(stop) {
  let refused = [];
  const button = commandButton("stop", () => {
    button.node.hidden = true;
    stop(refused);
  });
  const offer = ids => {
    refused = ids;
    const dependents = dependentsOf(ids);
    button.node.hidden = !dependents.length;
    button.label((ids.length > 1 ? "Stop " + ids.length : "Stop") + " with " + dependents.length + (dependents.length > 1 ? " dependents: " : " dependent: ") + named(dependents));
  };
  button.node.dataset.command = "stop-with-dependents";
  offer([]);
  return { node: button.node, offer };
}

// Sends a command, and reports what became of it until the agent has reached its goal. Returns the error if it was not taken.
const running = new Map();
async function send(id, command, report, query = "") {
  const before = agents.get(id);
  report("…");
  try {
    const answer = await request("/agents/" + id + "/" + command + query, { method: "POST", signal: AbortSignal.timeout(30000) });
    report((await answer.json()).message);
    running.set(id, { command, report, since: before && before.since });
    follow(agents.get(id));
    return null;
  } catch (error) {
    report(command + " " + id + ": " + (error instanceof Refused ? error.message : "the daemon does not answer"));
    return error;
  }
}
const isRefusedStop = (command, error) => command === "stop" && error instanceof Refused && error.status === 409;

function follow(agent) {
  const sent = agent && running.get(agent.agent_id);
  if (!sent) return;
  const { goal, reached, keeps } = COMMANDS[sent.command], isDone = reached(agent);
  // A hold changes no state.
  if (keeps ? !isDone : agent.since === sent.since) return;
  const ended = isDone || agent.state === "failed";
  sent.report((isDone ? "✓ " : ended ? "✗ " : "") + sent.command + ": " + (isDone ? goal : agent.state + ", " + agent.cause));
  if (ended) running.delete(agent.agent_id);
}

function actionsOf(id, box) {
  const result = make("span", "soft");
  result.setAttribute("role", "status");
  const report = text => put(result, text);
  const more = dependentsButton(() => send(id, "stop", report, "?with_dependents=true"));
  const act = async command => {
    more.offer([]);
    const error = await send(id, command, report);
    if (isRefusedStop(command, error)) more.offer([id]);
  };
  const buttons = Object.keys(COMMANDS).map(command => [command, commandButton(command, () => act(command))]);
  box.append(...buttons.map(([, button]) => button.node), more.node, result);
  return { show: agent => buttons.forEach(([command, button]) => { button.node.hidden = !fits(command, agent); }) };
}

// Several at once.
const bulk = Object.keys(COMMANDS).map(command => [command, commandButton(command, () => sendAll(command, chosenFor(command)))]);
const bulkMore = dependentsButton(ids => sendAll("stop", ids, "?with_dependents=true"));
const chosenFor = command => [...selected].filter(id => fits(command, agents.get(id)));

function choose(id, on) {
  if (on) selected.add(id);
  else selected.delete(id);
  showSelection();
}

function showSelection() {
  for (const id of selected) if (!agents.has(id)) selected.delete(id);
  const count = selected.size;
  for (const agent of shown) rows.get(agent.agent_id).select.checked = selected.has(agent.agent_id);
  const all = at("select-shown"), of = shown.filter(a => selected.has(a.agent_id)).length;
  all.checked = of > 0 && of === shown.length;
  all.indeterminate = of > 0 && of < shown.length;
  put(at("selected"), count ? count + " selected" + (count > of ? ", " + (count - of) + " of them not shown" : "") : "Select all shown");
  for (const [command, button] of bulk) {
    const fit = chosenFor(command).length;
    button.node.hidden = !fit;
    button.label(capital(command) + " " + fit);
  }
}

async function sendAll(command, ids, query = "") {
  const refused = new Map(), result = at("bulk-result");
  let done = 0, reached = 0, open = ids, before = 0;
  const show = () => put(result, command + ": " + done + " of " + ids.length + " sent" + (reached ? ", " + reached + " " + COMMANDS[command].goal : "")
    + (refused.size ? ", " + refused.size + " refused: " + [...refused.values()][0] : ""));
  const sendOne = async id => {
    let last = "";
    const error = await send(id, command, text => {
      last = text;
      if (text.startsWith("✓")) reached++;
      show();
    }, query);
    if (error) refused.set(id, last);
    else done++;
    show();
    return isRefusedStop(command, error);
  };
  bulkMore.offer([]);
  // A stop is refused while dependents run. They may be among those that are stopped after it.
  do {
    before = open.length;
    const queue = [...open], again = [];
    open.forEach(id => refused.delete(id));
    // A few at a time, because a browser has few connections.
    const worker = async () => { for (let id = queue.shift(); id; id = queue.shift()) if (await sendOne(id)) again.push(id); };
    await Promise.all([worker(), worker(), worker()]);
    open = again;
  } while (open.length && open.length < before);
  if (open.length) bulkMore.offer(open);
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
