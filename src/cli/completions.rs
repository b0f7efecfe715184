//! Completions of command lines for bash, zsh and fish: what clap generates, and the IDs of the running daemon's agents.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;

use super::output::print;

/// The first argument of a program that is asked for agent IDs by a completion.
pub(super) const IDS: &str = "complete-ids";

/// The options of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completions for a shell.
pub(super) fn run(command: Command, args: &Args) -> ExitCode {
    let mut command = with_hints(command);
    let name = command.get_name().to_owned();
    // The script for bash is wrong for a name with a hyphen. `bash` registers the program.
    let plain = if args.shell == Shell::Bash { name.replace('-', "_") } else { name };
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut command, &plain, &mut out);
    let script = String::from_utf8_lossy(&out).into_owned();
    print(&if args.shell == Shell::Bash {
        script + &bash(&command)
    } else if args.shell == Shell::Zsh {
        zsh(&command, &script)
    } else if args.shell == Shell::Fish {
        script + &fish(&command)
    } else {
        script
    })
}

/// Files are completed only where the value is a path, and log levels by their names.
fn with_hints(command: Command) -> Command {
    let hint = |arg: Arg| match arg.get_id().as_str() {
        "log_level" => arg.value_parser(PossibleValuesParser::new(["debug", "info", "warn", "error"])),
        _ if !arg.get_action().takes_values() => arg,
        _ if arg.get_value_hint() == ValueHint::AnyPath => arg.value_hint(ValueHint::FilePath),
        _ => arg.value_hint(ValueHint::Other),
    };
    command.mut_args(hint).mut_subcommands(with_hints)
}

/// The subcommands whose positional argument fits.
fn subcommands(command: &Command, fits: impl Fn(&Arg) -> bool) -> Vec<&str> {
    let takes = |sub: &&Command| sub.get_positionals().any(&fits);
    command.get_subcommands().filter(takes).map(Command::get_name).collect()
}

fn takes_id(arg: &Arg) -> bool {
    arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "ID"))
}

fn takes_file(arg: &Arg) -> bool {
    arg.get_value_hint() == ValueHint::FilePath
}

/// The options that have a value.
fn options_with_value(command: &Command) -> Vec<String> {
    let options = command.get_subcommands().flat_map(Command::get_opts);
    let names = |arg: &Arg| {
        let long = arg.get_long().map(|long| format!("--{long}"));
        long.into_iter().chain(arg.get_short().map(|short| format!("-{short}"))).collect::<Vec<_>>()
    };
    let mut names: Vec<String> = options.filter(|arg| arg.get_action().takes_values()).flat_map(names).collect();
    names.sort();
    names.dedup();
    names
}

/// A function around the generated one. It completes positional arguments.
fn bash(command: &Command) -> String {
    let name = command.get_name();
    let generated = format!("_{}", name.replace('-', "_"));
    let options = options_with_value(command).join(" ");
    let files = subcommands(command, takes_file).join(" ");
    let ids = subcommands(command, takes_id).join(" ");
    format!(
        r#"
{generated}__positional() {{
    local sub="${{COMP_WORDS[1]}}" IFS=$' \t\n'
    if [[ ${{COMP_CWORD}} -lt 2 || "$2" == -* || " {options} " == *" $3 "* ]]; then
        {generated} "$@"
    elif [[ " {ids} " == *" ${{sub}} "* ]]; then
        COMPREPLY=( $(compgen -W "$("$1" {IDS} "${{COMP_WORDS[@]:1:COMP_CWORD-1}}" 2>/dev/null)" -- "$2") )
    elif [[ " {files} " == *" ${{sub}} "* ]]; then
        COMPREPLY=()
    else
        {generated} "$@"
    fi
}}

complete -F {generated}__positional -o bashdefault -o default {name}
"#
    )
}

/// The script with a function for agent IDs, which clap leaves to the shell's default.
fn zsh(command: &Command, script: &str) -> String {
    let name = command.get_name();
    let function = format!("_{name}_agent_ids");
    let lines = script.lines().map(|line| {
        let is_id = line.starts_with("'*::ids -- ") || line.starts_with("':id -- ") || line.starts_with("'::id -- ");
        // What follows the last colon says how the value is completed.
        match line.rsplit_once(':') {
            // With two colons the function would not see the words before.
            Some((start, _)) if is_id => format!("{}:{function}' \\", start.replacen("'*::", "'*:", 1)),
            _ => line.to_owned(),
        }
    });
    let (head, rest): (Vec<String>, Vec<String>) = {
        let mut lines = lines;
        (lines.by_ref().take(1).collect(), lines.collect())
    };
    let ids = format!(
        r#"
{function}() {{
    local -a ids
    ids=(${{(f)"$({name} {IDS} ${{words[1,CURRENT-1]}} 2>/dev/null)"}})
    compadd -a ids
}}
"#
    );
    let has_ids = !subcommands(command, takes_id).is_empty();
    format!("{}\n{}{}\n", head.join("\n"), if has_ids { ids } else { String::new() }, rest.join("\n"))
}

fn fish(command: &Command) -> String {
    let name = command.get_name();
    let uses = format!("__fish_{}_using_subcommand", name.replace('-', "_"));
    let ids = subcommands(command, takes_id).into_iter().map(|sub| {
        format!("complete -c {name} -n \"{uses} {sub}\" -f -a \"({name} {IDS} (commandline -opc)[2..] 2>/dev/null)\"\n")
    });
    ids.collect()
}
