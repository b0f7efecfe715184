//! The options that select the configuration.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use ops_config::Overrides;

/// The sources of the configuration.
#[derive(Debug, Clone, Args)]
pub(super) struct ConfigArgs {
    /// The configuration file; `-` or a pipe is read once and cannot be reloaded
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Set one key; it takes precedence over every other source; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

/// The arguments of `validate`.
#[derive(Debug, Clone, Args)]
pub(super) struct ValidateArgs {
    /// The configuration file, as with --config
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

impl ValidateArgs {
    /// The sources of the configuration.
    pub(super) fn config(self) -> ConfigArgs {
        let Self { file, config } = self;
        ConfigArgs { config: file.or(config.config), ..config }
    }
}

impl ConfigArgs {
    /// The keys that `--set` gives.
    pub(super) fn overrides(&self) -> Overrides {
        self.set
            .iter()
            .fold(Overrides::none(), |overrides, (key, value)| overrides.set(&format!("--set {key}"), key, value))
    }
}

fn key_and_value(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as http.port=8081")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The Go programs take `-config FILE`, with one dash, and the Go daemon starts its agents so.
pub(super) fn long_form(argument: OsString) -> OsString {
    match argument.to_str() {
        Some("-config") => "--config".into(),
        Some(text) => {
            text.strip_prefix("-config=").map_or_else(|| text.into(), |file| format!("--config={file}").into())
        }
        None => argument,
    }
}
