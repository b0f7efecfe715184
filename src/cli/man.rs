//! Man pages: one for the program and one for each subcommand, from the definition of the command line and `man_text`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, Command};

use super::exit_code::{FAILED, WRONG_USAGE};
use super::man_text::{Facts, facts};
use super::output::{fail, print};

/// The date of the pages. It is fixed, so that a build can be repeated.
const DATE: &str = "2026-11-28";

/// The longest line of the source. Text is filled anew when it is shown.
const COLUMNS: usize = 78;

/// The options of `man`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The subcommand. Default: the program
    #[arg(value_name = "COMMAND", conflicts_with = "directory")]
    command: Option<String>,
    /// Write the pages of the program and of all its subcommands to this directory
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

/// Prints a page, or writes all of them. `built_as` is the name that the build gives to the program.
pub(super) fn run(command: Command, built_as: &str, args: &Args) -> ExitCode {
    let pages = pages(command, built_as);
    if let Some(directory) = &args.directory {
        for (name, text) in &pages {
            let path = directory.join(format!("{name}.1"));
            if let Err(error) = fs::write(&path, text) {
                return fail(&format!("cannot write {}", path.display()), Some(&error), FAILED);
            }
        }
        return ExitCode::SUCCESS;
    }
    let program = pages.first().map_or("", |(name, _)| name.as_str());
    let name = args.command.as_ref().map_or_else(|| program.to_owned(), |command| format!("{program}-{command}"));
    match pages.iter().find(|(page, _)| *page == name) {
        Some((_, text)) => print(text),
        None => {
            let command = args.command.as_deref().unwrap_or_default();
            fail(&format!("there is no command {command:?}: see `{program} --help`"), None, WRONG_USAGE)
        }
    }
}

/// The name and the text of each page.
pub(super) fn pages(mut command: Command, built_as: &str) -> Vec<(String, String)> {
    command.build();
    let program = command.get_name().to_owned();
    let shown: Vec<&Command> =
        command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help").collect();
    let names: Vec<&str> = shown.iter().map(|sub| sub.get_name()).collect();
    let mut pages = vec![(program.clone(), page(&command, &program, facts(built_as, ""), &names, &program))];
    for sub in shown {
        let name = format!("{program}-{}", sub.get_name());
        let text = page(sub, &name, facts(built_as, sub.get_name()), &[], &program);
        pages.push((name, text));
    }
    pages
}

fn page(command: &Command, name: &str, facts: Facts, subcommands: &[&str], program: &str) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    let mut page = Roff(format!(".TH {} 1 {DATE} \"{program} {version}\"\n", name.to_uppercase()));
    page.section("NAME");
    page.text(&format!("{name} - {}", about.trim_end_matches('.')));
    page.section("SYNOPSIS");
    let usage = command.clone().render_usage().to_string();
    let lines = usage.trim_start_matches("Usage:").lines().map(str::trim).filter(|line| !line.is_empty());
    for (index, line) in lines.enumerate() {
        page.0.push_str(if index > 0 { ".br\n" } else { "" });
        page.text(line);
    }
    page.section("DESCRIPTION");
    page.text(&format!("{}.", about.trim_end_matches('.')));
    for paragraph in facts.description {
        page.paragraph(&paragraph.replace("PROGRAM", program));
    }
    let arguments: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_hide_set()).collect();
    if !arguments.is_empty() {
        page.section("OPTIONS");
        for arg in arguments {
            page.item(&title(arg), &help(arg));
        }
    }
    if !subcommands.is_empty() {
        page.section("COMMANDS");
        for sub in command.get_subcommands().filter(|sub| subcommands.contains(&sub.get_name())) {
            page.item(
                &format!("{program}-{}(1)", sub.get_name()),
                &sub.get_about().map(ToString::to_string).unwrap_or_default(),
            );
        }
    }
    page.items("EXIT STATUS", facts.exit, program);
    page.items("FILES", facts.files, program);
    page.section("EXAMPLES");
    for (index, (text, example)) in facts.examples.iter().enumerate() {
        page.0.push_str(if index > 0 { ".PP\n" } else { "" });
        page.text(&format!("{}:", text.replace("PROGRAM", program)));
        page.0.push_str(&format!(".PP\n.nf\n.RS 4\n{}\n.RE\n.fi\n", escaped(&example.replace("PROGRAM", program))));
    }
    page.section("SEE ALSO");
    let others: Vec<String> = if subcommands.is_empty() {
        vec![format!("{program}(1)")]
    } else {
        subcommands.iter().map(|sub| format!("{program}-{sub}(1)")).collect()
    };
    page.text(&others.join(", "));
    page.0
}

fn title(arg: &Arg) -> String {
    let values = arg.get_value_names().filter(|_| arg.get_action().takes_values());
    let values: Vec<String> = values.into_iter().flatten().map(|name| name.to_string()).collect();
    let names = [arg.get_short().map(|short| format!("-{short}")), arg.get_long().map(|long| format!("--{long}"))];
    let names: Vec<String> = names.into_iter().flatten().collect();
    [names.join(", "), values.join(" ")].join(" ").trim().to_owned()
}

fn help(arg: &Arg) -> String {
    let mut help =
        arg.get_help().map(|help| format!("{}.", help.to_string().trim_end_matches('.'))).unwrap_or_default();
    if arg.get_action().takes_values() {
        for value in arg.get_possible_values().iter().filter(|value| !value.is_hide_set()) {
            let about = value.get_help().map(|about| format!(": {about}")).unwrap_or_default();
            help.push_str(&format!(" `{}`{about}.", value.get_name()));
        }
        let defaults: Vec<String> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        if !defaults.is_empty() {
            help.push_str(&format!(" Default: {}.", defaults.join(" ")));
        }
    }
    help
}

/// The source of a page.
struct Roff(String);

impl Roff {
    fn section(&mut self, title: &str) {
        self.0.push_str(&format!(".SH {title}\n"));
    }

    /// Text, in lines that are not too long.
    fn text(&mut self, text: &str) {
        let mut used = 0;
        for word in text.split_whitespace() {
            let word = escaped(word);
            if used > 0 && used + 1 + word.len() > COLUMNS {
                self.0.push('\n');
                used = 0;
            }
            if used > 0 {
                self.0.push(' ');
                used += 1;
            } else if word.starts_with(['.', '\'']) {
                self.0.push_str("\\&");
            }
            used += word.len();
            self.0.push_str(&word);
        }
        self.0.push('\n');
    }

    fn paragraph(&mut self, text: &str) {
        self.0.push_str(".PP\n");
        self.text(text);
    }

    fn item(&mut self, title: &str, text: &str) {
        self.0.push_str(&format!(".TP\n\\fB{}\\fR\n", escaped(title)));
        self.text(text);
    }

    fn items(&mut self, title: &str, items: &[(&str, &str)], program: &str) {
        if !items.is_empty() {
            self.section(title);
            for (name, text) in items {
                self.item(&name.replace("PROGRAM", program), &text.replace("PROGRAM", program));
            }
        }
    }
}

/// Text without a meaning for roff.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}
