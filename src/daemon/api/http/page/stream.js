// Requests to the daemon, and streams of events that are read with `fetch`, because EventSource cannot send a token.

const SILENCE_MS = 40000, RETRY_MS = [500, 1000, 2000, 5000];
let token = "", asking = null;

const headers = () => token ? { authorization: "Bearer " + token } : {};

class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

// A request that is repeated with the token if the daemon requires one.
async function request(path, options) {
  const used = token, answer = await fetch(path, { cache: "no-store", ...options, headers: headers() });
  if (answer.status === 401 && (token !== used || await askToken())) return request(path, options);
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, body.error || "the daemon answers " + answer.status);
}

async function askToken() {
  asking = asking || new Promise(done => {
    const ask = at("ask"), input = at("token");
    input.value = "";
    ask.returnValue = "cancel";
    ask.showModal();
    ask.addEventListener("close", () => {
      const given = ask.returnValue === "ok" && input.value.trim();
      if (given) token = given;
      input.value = "";
      asking = null;
      done(Boolean(given));
    }, { once: true });
  });
  return asking;
}

// Reads events until the stream ends. A stream on which not even a comment comes is dead.
async function readEvents(path, stop, handle) {
  const silent = new AbortController(), both = AbortSignal.any([stop, silent.signal]);
  let timer = setTimeout(() => silent.abort(), SILENCE_MS);
  try {
    const answer = await request(path, { signal: both }), reader = answer.body.getReader(), decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(), SILENCE_MS);
      text += decoder.decode(value, { stream: true });
      const events = text.split("\n\n");
      text = events.pop();
      const parsed = events.map(parseEvent).filter(Boolean);
      if (parsed.length) handle(parsed);
    }
  } finally {
    clearTimeout(timer);
  }
}

function parseEvent(block) {
  let name = "", data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    if (line.startsWith("data: ")) data += line.slice(6);
  }
  return name && { name, data: JSON.parse(data) };
}

// Keeps a stream open while the page is visible. A browser has few connections to one server, so hidden pages need none.
function keepOpen(path, { handle, lost, paused }) {
  let stop = null, failures = 0, retry = 0;
  async function open() {
    clearTimeout(retry);
    const own = stop = new AbortController();
    let error = null;
    try {
      await readEvents(path, own.signal, events => {
        failures = 0;
        handle(events);
      });
    } catch (caught) { error = caught; }
    if (own.signal.aborted) return;
    lost(error);
    retry = setTimeout(open, RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
  }
  const close = () => {
    clearTimeout(retry);
    if (stop) stop.abort();
  };
  const follow = () => {
    close();
    if (document.hidden) paused();
    else open();
  };
  document.addEventListener("visibilitychange", follow);
  follow();
  return () => {
    document.removeEventListener("visibilitychange", follow);
    close();
  };
}
