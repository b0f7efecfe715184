//! The programs as they ship, for what judges their weight.

use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use crate::support::programs::{SHIPPED, target};

/// While there is one, the programs are started as they ship: optimised.
pub(crate) struct Shipped(());

impl Shipped {
    /// Builds them, if they are not there, with the features that the tests have.
    pub(crate) fn build() -> Result<Self, String> {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--release", "--locked", "--quiet", "--package", "ops-agent", "--bins", "--target-dir"])
            .arg(target());
        let features = [("tls", cfg!(feature = "tls")), ("mimalloc", cfg!(feature = "mimalloc"))];
        if !features.iter().all(|(_, is_on)| *is_on) {
            let on: Vec<&str> = features.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| *name).collect();
            cargo.args(["--no-default-features", "--features", &on.join(",")]);
        }
        let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).output();
        match built {
            Ok(built) if built.status.success() => {}
            Ok(built) => return Err(String::from_utf8_lossy(&built.stderr).into_owned()),
            Err(error) => return Err(format!("cargo cannot be run: {error}")),
        }
        SHIPPED.store(true, Ordering::Relaxed);
        Ok(Self(()))
    }
}

impl Drop for Shipped {
    fn drop(&mut self) {
        SHIPPED.store(false, Ordering::Relaxed);
    }
}
