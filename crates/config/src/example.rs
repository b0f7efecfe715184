//! A configuration file with every key, each under a comment.

use super::key::{Absent, Declared};
use super::outline::{Part, Program, Section};

/// The maximum length of a comment line.
const WIDTH: usize = 100;

const AGENT: &str = "\
# yaml-language-server: $schema=agent.schema.json
#
# The agent's configuration, with every key. A key that is commented out has no default, or a computed one.
# This file is standalone: no daemon is needed. Check a change with: agent validate --config FILE
#
# A key can also come from the environment: http.port is AGENT_HTTP_PORT, log.level is AGENT_LOG_LEVEL, and so on.
# Precedence: flag, environment, this file. SIGHUP or POST /reload applies a change.
# In brackets: the valid values, and when a change applies (live, or at a restart).
";

const DAEMON: &str = "\
# yaml-language-server: $schema=daemon.schema.json
#
# The daemon's configuration, with every key. A key that is commented out has no default, or a computed one.
# It supervises three agents side by side: agent-001.yaml to agent-003.yaml in this directory.
# Check a change with: daemon validate --config FILE. SIGHUP applies it: unchanged agents keep running.
# Relative paths start at the working directory. A time needs its unit: 500ms, 30s, 1m30s.
# In brackets: the valid values, and what a change needs (a new process of the agent, or a restart of the daemon).
";

/// The agents of the daemon's file. `N` is replaced by the number of the agent.
const AGENTS: [&str; 3] = ["1", "2", "3"];
const OF_EACH_AGENT: [(&str, &str); 6] = [
    ("agents[].id", "agent-00N"),
    ("agents[].name", "Agent 00N"),
    ("agents[].binary_path", "/usr/local/bin/ops-agent"),
    ("agents[].config_file", "configs/agent-00N.yaml"),
    ("agents[].health_check.http_endpoint", "http://127.0.0.1:808N/livez"),
    ("agents[].health_check.state_file", "state/agents/agent-00N/state/agent-00N.ron"),
];

pub(super) fn example(program: Program, root: &Section) -> String {
    let header = match program {
        Program::Agent => AGENT,
        Program::Daemon => DAEMON,
    };
    let mut writer = Writer { root, text: header.to_owned(), indent: 0 };
    if root.keys().any(|key| !matches!(key.absent, Absent::Legacy)) {
        writer.text += "\n";
    }
    writer.parts(root);
    writer.text
}

struct Writer<'a> {
    root: &'a Section,
    text: String,
    indent: usize,
}

impl Writer<'_> {
    fn parts(&mut self, section: &Section) {
        for part in &section.parts {
            match part {
                Part::Key(key) => self.key(key, None),
                Part::Section(list) if list.path == "hooks[]" => self.commented_item(list),
                Part::Section(list) if list.is_list() => self.list(list),
                Part::Section(section) => self.section(section),
            }
        }
    }

    fn section(&mut self, section: &Section) {
        self.heading(section);
        self.indent += 2;
        self.parts(section);
        self.indent -= 2;
    }

    fn heading(&mut self, section: &Section) {
        if self.indent == 0 {
            self.text += "\n";
        }
        self.comment(section.doc);
        self.line(&format!("{}:", section.name()));
    }

    /// A list with an item for each of [`AGENTS`]. The first shows every key, except those of the
    /// defaults.
    fn list(&mut self, list: &Section) {
        self.heading(list);
        self.indent += 4;
        for (index, number) in AGENTS.iter().enumerate() {
            if index > 0 {
                self.text += "\n";
            }
            let start = self.text.len();
            for key in list.keys() {
                match given(key, number) {
                    Some(value) if index > 0 => self.line(&format!("{}: {}", key.name(), written(key, &value))),
                    value if index == 0 => self.key(key, value),
                    _ => {}
                }
            }
            for section in list.sections() {
                match self.root.defaults_for(section) {
                    Some(_) => self.given_keys(section, number),
                    // Its comments are nowhere else.
                    None if index == 0 => self.section(section),
                    None => {}
                }
            }
            self.begin_item(start);
        }
        self.indent -= 4;
    }

    /// An empty list, with an item in a comment that shows every key.
    fn commented_item(&mut self, list: &Section) {
        self.heading(list);
        self.text.truncate(self.text.trim_end().len());
        self.text += " []\n";
        let mut item = Writer { root: self.root, text: String::new(), indent: 2 };
        item.parts(list);
        for line in item.text.lines() {
            let line = if item.text.starts_with(line) { line.replacen("  ", "- ", 1) } else { line.to_owned() };
            self.line(&format!("# {line}"));
        }
    }

    /// The keys of a section that an item sets. Their comments are in the defaults.
    fn given_keys(&mut self, section: &Section, number: &str) {
        let given: Vec<_> = section.keys().filter_map(|key| Some((key, given(key, number)?))).collect();
        if given.is_empty() {
            return;
        }
        self.line(&format!("{}:", section.name()));
        self.indent += 2;
        for (key, value) in given {
            self.line(&format!("{}: {}", key.name(), written(key, &value)));
        }
        self.indent -= 2;
    }

    /// Puts the `-` of a list item before the first key after `start`.
    fn begin_item(&mut self, start: usize) {
        let item = self.text.split_off(start);
        let mut begun = false;
        for line in item.split_inclusive('\n') {
            let is_key = !begun && !line.trim_start().starts_with('#');
            if is_key {
                self.text += &line.replacen("    ", "  - ", 1);
            } else if begun {
                self.text += line;
            } else {
                self.text += &line[2..];
            }
            begun |= is_key;
        }
    }

    /// A key with the given value or its default, or commented out with an example.
    fn key(&mut self, key: &Declared, given: Option<String>) {
        let mut facts = vec![key.description.replace('`', "")];
        match &key.absent {
            Absent::Computed(description, _) => facts.push(format!("default: {}", description.replace('`', ""))),
            Absent::Required(_) => facts.push("required".to_owned()),
            Absent::Default(_) | Absent::Nothing(_) => {}
            Absent::Legacy => return,
        }
        facts.push(key.reload.as_str().to_owned());
        let facts = format!("[{}]", facts.join("; "));
        // On their own line if they do not fit.
        if self.indent + key.doc.len() + facts.len() + 3 <= WIDTH {
            self.comment(&format!("{} {facts}", key.doc));
        } else {
            self.comment(key.doc);
            self.comment(&facts);
        }
        let (commented, value) = match (&key.absent, given) {
            (_, Some(value)) => (false, value),
            (Absent::Default(value), None) => (false, value.clone()),
            (Absent::Required(example), None) => (false, (*example).to_owned()),
            (Absent::Computed(_, example) | Absent::Nothing(example), None) => (true, (*example).to_owned()),
            (Absent::Legacy, None) => return,
        };
        let line = format!("{}: {}", key.name(), written(key, &value));
        self.line(&if commented { format!("# {line}") } else { line });
    }

    /// A comment, wrapped.
    fn comment(&mut self, text: &str) {
        let mut line = "#".to_owned();
        for word in text.split(' ') {
            if self.indent + line.len() + 1 + word.len() > WIDTH {
                self.line(&line);
                "#".clone_into(&mut line);
            }
            line = format!("{line} {word}");
        }
        self.line(&line);
    }

    fn line(&mut self, text: &str) {
        self.text += &format!("{}{text}\n", " ".repeat(self.indent));
    }
}

/// The value of a key in an item of [`AGENTS`].
fn given(key: &Declared, number: &str) -> Option<String> {
    OF_EACH_AGENT.iter().find(|(path, _)| *path == key.path).map(|(_, value)| value.replace('N', number))
}

/// A value as YAML, quoted if necessary.
fn written(key: &Declared, value: &str) -> String {
    if !key.is_text {
        return value.to_owned();
    }
    let written = serde_yaml::to_string(value).unwrap_or_default();
    written.trim_end().to_owned()
}
