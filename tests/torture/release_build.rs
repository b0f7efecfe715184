//! Release builds of the programs, for sections that measure memory.

use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use crate::support::programs::{SHIPPED, target};

/// While this exists, tests start the release builds.
pub(crate) struct ReleaseBuild(());

impl ReleaseBuild {
    /// Builds the programs with the features of the tests.
    pub(crate) fn build() -> Result<Self, String> {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--release", "--locked", "--quiet", "--package", "ops-agent", "--bins", "--target-dir"])
            .arg(target());
        let features = [("tls", cfg!(feature = "tls")), ("mimalloc", cfg!(feature = "mimalloc"))];
        if !features.iter().all(|(_, is_enabled)| *is_enabled) {
            let enabled: Vec<&str> =
                features.iter().filter(|(_, is_enabled)| *is_enabled).map(|(name, _)| *name).collect();
            cargo.args(["--no-default-features", "--features", &enabled.join(",")]);
        }
        let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).output();
        match output {
            Ok(output) if output.status.success() => {}
            Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => return Err(format!("cargo does not start: {error}")),
        }
        SHIPPED.store(true, Ordering::Relaxed);
        Ok(Self(()))
    }
}

impl Drop for ReleaseBuild {
    fn drop(&mut self) {
        SHIPPED.store(false, Ordering::Relaxed);
    }
}
