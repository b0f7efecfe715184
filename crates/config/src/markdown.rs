//! Tables of the keys, for `docs/CONFIGURATION.md`.

use super::key::{Absent, Declared};
use super::outline::{Program, Section};

pub(super) fn markdown(program: Program, root: &Section) -> String {
    let mut text = match program {
        Program::Agent => AGENT.to_owned(),
        Program::Daemon => DAEMON.to_owned(),
    };
    section(root, root, &mut text);
    let short: Vec<String> =
        short_forms(root).map(|(short, key)| format!("| `{short}` | `{}` |\n", key.path)).collect();
    text += match program {
        Program::Agent => AGENT_SHORT_FORMS,
        Program::Daemon => GO_DAEMON,
    };
    text.extend(short);
    text.extend(legacy(root).map(|key| format!("| `{}` | {} |\n", key.path, key.doc)));
    text
}

const AGENT: &str = "\
## Agent

`agent schema` prints a JSON Schema, `agent schema --format example` a file with every key.

- Precedence: flag (`--set http.port=9000`), environment (`AGENT_HTTP_PORT=9000`), file, default. The
  variable of a key is `AGENT_` and its name in capitals, with `_` for each dot.
- In `AGENT_AGENT_ID` a dot counts as `-`, so that the name of a Kubernetes node can be the ID.
- A time needs its unit: `500ms`, `30s`, `1m30s`. Relative paths start at the working directory.
- SIGHUP or `POST /reload` applies a change. The column \"change applies\" says when: `live` at the
  reload, `restart` at the next start. A reload refuses a change that needs a restart, and then
  changes nothing.
";

const DAEMON: &str = "\
## Daemon

`daemon schema` prints a JSON Schema, `daemon schema --format example` a file with every key.

- Precedence: flag (`--set daemon.http.port=9000`), file, default.
- A time needs its unit: `500ms`, `30s`, `1m30s`. Relative paths start at the working directory.
- SIGHUP applies a change: added agents start, and removed ones stop. The column \"change applies\"
  says what else: `live` leaves the running process alone, `new process` restarts the agent,
  `restart` applies at the next start of the daemon. A reload refuses a change that needs a restart
  of the daemon, and then changes nothing.
";

const AGENT_SHORT_FORMS: &str = "
### Short forms

These stand at the top of the file. A key given in both forms is an error.

| short form | key |
|---|---|
";

const GO_DAEMON: &str = "
### Keys of the Go daemon

Files of the Go daemon run unchanged. A key without an effect causes a warning. A key given in both
forms is an error.

| key of the Go daemon | key, or what to do |
|---|---|
";

fn section(root: &Section, section: &Section, text: &mut String) {
    if !section.path.is_empty() {
        *text += &format!("\n### `{}`\n\n{}\n", section.path, section.doc);
    }
    if let Some(defaults) = root.defaults_for(section) {
        *text += &format!("The keys are those of `{}`, for this agent alone.\n", defaults.path);
        return;
    }
    let rows: Vec<String> = section.keys().filter_map(row).collect();
    if !rows.is_empty() {
        *text += "\n| key | value | default | change applies | meaning |\n|---|---|---|---|---|\n";
        text.extend(rows);
    }
    section.sections().for_each(|below| self::section(root, below, text));
}

fn row(key: &Declared) -> Option<String> {
    let default = match &key.absent {
        Absent::Default(text) if text.is_empty() => "empty".to_owned(),
        Absent::Default(text) => format!("`{text}`"),
        Absent::Computed(description, _) => (*description).to_owned(),
        Absent::Nothing(_) => "none".to_owned(),
        Absent::Required(_) => "required".to_owned(),
        Absent::Legacy => return None,
    };
    let (name, description, reload, doc) = (key.name(), &key.description, key.reload.as_str(), key.doc);
    Some(format!("| `{name}` | {description} | {default} | {reload} | {doc} |\n"))
}

fn short_forms(section: &Section) -> Box<dyn Iterator<Item = (&'static str, &Declared)> + '_> {
    let own = section.keys().filter_map(|key| Some((key.short?, key)));
    Box::new(own.chain(section.sections().flat_map(short_forms)))
}

fn legacy(section: &Section) -> Box<dyn Iterator<Item = &Declared> + '_> {
    let own = section.keys().filter(|key| matches!(key.absent, Absent::Legacy));
    Box::new(own.chain(section.sections().flat_map(legacy)))
}
