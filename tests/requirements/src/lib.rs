//! `#[requires("strace")]` above `#[test]` shows the test as ignored, with the reason, where strace is missing.
//!
//! libtest cannot ignore a test while it runs: a test that returns early counts as passed. So the build decides. The
//! build script of this crate looks for the tools, and cargo runs it again when `PATH` or a directory in it changes.
//! It is not the build script of the product, because the programs must not be built differently on a machine with
//! other tools. A harness that decides at run time (libtest-mimic) would need a list of all tests, kept by hand.

use proc_macro::{TokenStream, TokenTree};

/// Each requirement, and the reason why this machine does not meet it.
const REQUIREMENTS: &[(&str, Option<&str>)] = include!(concat!(env!("OUT_DIR"), "/requirements.rs"));

/// Ignores the test below where one of the requirements, given as string literals, is not met.
///
/// It stands above `#[test]`, which takes `#[ignore]` into account only if it is there already.
#[proc_macro_attribute]
pub fn requires(names: TokenStream, test: TokenStream) -> TokenStream {
    if !test.to_string().contains("[test]") {
        return error("`#[requires]` must stand above `#[test]`");
    }
    let mut reasons: Vec<&str> = Vec::new();
    for token in names {
        let TokenTree::Literal(literal) = token else { continue };
        let literal = literal.to_string();
        let Some((_, missing)) = REQUIREMENTS.iter().find(|(name, _)| *name == literal.trim_matches('"')) else {
            return error(&format!("unknown requirement {literal}: add it to tests/requirements/build.rs"));
        };
        reasons.extend(missing);
    }
    if reasons.is_empty() {
        return test;
    }
    let mut ignored = tokens(&format!("#[ignore = {:?}]", reasons.join("; ")));
    ignored.extend(test);
    ignored
}

fn error(text: &str) -> TokenStream {
    tokens(&format!("compile_error!({text:?});"))
}

fn tokens(source: &str) -> TokenStream {
    source.parse().unwrap_or_default()
}
