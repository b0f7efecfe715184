//! What the daemon tells the launcher, and what the launcher answers.
//!
//! Both ends are the same program file, so the format has no versions. Orders are fields that end in a NUL byte, which no path,
//! argument or variable can contain.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::str::FromStr;

use ops_config::daemon::ProcessAttributes;
use rustix::io::Errno;
use statemachine::supervision::Exit;
use strum::VariantArray;

use super::{LaunchStep, attributes};

/// The size limit of orders, in bytes: four times what Linux passes to a program by default.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// The room for orders before more is needed, in bytes.
const USUAL_BYTES: usize = 16 * 1024;

/// What the answer of a launcher that is about to execute the program begins with. Its user follows. The end of the socket then
/// means that the program was executed.
const EXECUTING: &[u8] = b"executing as ";

/// What becomes of the launcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Orders {
    /// The absolute path of the program.
    pub(crate) binary: PathBuf,
    /// Its arguments, without its name.
    pub(crate) args: Vec<OsString>,
    /// Its current directory, which exists.
    pub(crate) work_dir: PathBuf,
    /// Its whole environment, as `NAME=value`.
    pub(crate) environment: Vec<OsString>,
    /// What it reads from its standard input. Empty: nothing.
    pub(crate) input: OsString,
    /// Its limit on open files, if the launcher inherits another one.
    pub(crate) open_files: Option<OpenFiles>,
    /// What else it sets before it executes the program.
    pub(crate) attributes: ProcessAttributes,
}

/// A limit on open files. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// The soft limit.
    pub soft: Option<u64>,
    /// The hard limit.
    pub hard: Option<u64>,
}

/// Why the launcher did not become the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The step that failed.
    pub(crate) step: LaunchStep,
    /// What the kernel says.
    pub(crate) errno: Errno,
}

/// What a launcher answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The program runs as this user.
    Executed {
        /// The effective user ID.
        user: u32,
    },
    /// The program of a check has run, and ended so.
    Ended(Exit),
    /// A step failed, and the launcher exits.
    Failed(Failure),
    /// The launcher ended without an answer, as when it was killed.
    Nothing,
}

impl Orders {
    /// The orders as bytes.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if a field contains a NUL byte.
    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        let limit = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        let (soft, hard) =
            self.open_files.map_or_else(Default::default, |files| (limit(files.soft), limit(files.hard)));
        let attributes = attributes::encode(&self.attributes);
        let counts = [attributes.len(), self.args.len(), self.environment.len()].map(|count| count.to_string());
        let fields = [self.binary.as_os_str(), self.work_dir.as_os_str(), &self.input]
            .into_iter()
            .chain([&soft, &hard].into_iter().chain(&counts).chain(&attributes).map(OsStr::new))
            .chain(self.args.iter().chain(&self.environment).map(OsString::as_os_str));
        let mut bytes = Vec::new();
        for field in fields {
            if field.as_bytes().contains(&0) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path, argument or variable contains NUL"));
            }
            bytes.extend_from_slice(field.as_bytes());
            bytes.push(0);
        }
        Ok(bytes)
    }

    /// Reads orders up to the end of `from`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if they are incomplete, as when the daemon died. Otherwise the error of the read.
    pub(crate) fn read(from: impl Read) -> io::Result<Self> {
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        from.take(MAX_BYTES).read_to_end(&mut bytes)?;
        Self::decode(&bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let whole = bytes.strip_suffix(&[0])?;
        let mut fields = whole.split(|byte| *byte == 0).map(|field| OsString::from_vec(field.to_vec()));
        let (binary, work_dir, input) = (fields.next()?.into(), fields.next()?.into(), fields.next()?);
        let (soft, hard) = (fields.next()?, fields.next()?);
        let mut count = || number::<usize>(&fields.next()?);
        let (attributes, arguments, variables) = (count()?, count()?, count()?);
        let settings: Vec<OsString> = fields.by_ref().take(attributes).collect();
        let args: Vec<OsString> = fields.by_ref().take(arguments).collect();
        let environment: Vec<OsString> = fields.by_ref().take(variables).collect();
        let limit = |text: &OsString| if text == "-" { Some(None) } else { number(text).map(Some) };
        let open_files = if soft.is_empty() && hard.is_empty() {
            None
        } else {
            Some(OpenFiles { soft: limit(&soft)?, hard: limit(&hard)? })
        };
        let is_whole = settings.len() == attributes
            && args.len() == arguments
            && environment.len() == variables
            && fields.next().is_none();
        let attributes = attributes::decode(settings.iter().map(|field| field.to_str().unwrap_or_default()))?;
        is_whole.then_some(Self { binary, args, work_dir, environment, input, open_files, attributes })
    }
}

impl Reply {
    /// The answer right before the program is executed.
    pub(crate) fn executing(user: u32) -> Vec<u8> {
        [EXECUTING, format!("{user}\n").as_bytes()].concat()
    }

    /// The answer after the program of a check has ended.
    pub(crate) fn ended(exit: Exit) -> Vec<u8> {
        match exit {
            Exit::Code(code) => format!("code {code}"),
            Exit::Signal(signal) => format!("signal {signal}"),
            Exit::Unseen => String::new(),
        }
        .into_bytes()
    }

    /// The answer after a step failed.
    pub(crate) fn failed(failure: Failure) -> Vec<u8> {
        format!("{} {}", failure.errno.raw_os_error(), failure.step.as_str()).into_bytes()
    }

    /// Reads everything that a launcher answered.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let executing = bytes.strip_prefix(EXECUTING).and_then(user);
        match (executing, failure(executing.map_or(bytes, |(_, after)| after))) {
            (_, Some(failure)) => Self::Failed(failure),
            (Some((user, b"")), None) => Self::Executed { user },
            (Some((_, after)), None) => ended(after).map_or(Self::Nothing, Self::Ended),
            (None, None) => Self::Nothing,
        }
    }
}

/// The user in the first line, and what follows.
fn user(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (line, after) = bytes.split_at_checked(bytes.iter().position(|byte| *byte == b'\n')?)?;
    Some((std::str::from_utf8(line).ok()?.parse().ok()?, after.get(1..)?))
}

fn ended(bytes: &[u8]) -> Option<Exit> {
    match std::str::from_utf8(bytes).ok()?.split_once(' ')? {
        ("code", code) => Some(Exit::Code(code.parse().ok()?)),
        ("signal", signal) => Some(Exit::Signal(signal.parse().ok()?)),
        _ => None,
    }
}

fn failure(bytes: &[u8]) -> Option<Failure> {
    let (errno, step) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
    let step = LaunchStep::VARIANTS.iter().copied().find(|known| known.as_str() == step)?;
    Some(Failure { step, errno: Errno::from_raw_os_error(errno.parse().ok()?) })
}

fn number<T: FromStr>(text: &OsString) -> Option<T> {
    text.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ops_config::daemon::LimitedResource;

    fn orders() -> Orders {
        Orders {
            binary: "/bin/sh".into(),
            args: vec!["-c".into(), "".into(), OsString::from_vec(vec![0xff, b'\n'])],
            work_dir: "/tmp/with space".into(),
            environment: vec!["A=1".into(), "B=".into()],
            input: "{\"a\":1}".into(),
            open_files: Some(OpenFiles { soft: Some(1024), hard: None }),
            attributes: ProcessAttributes {
                user: Some("web".to_owned()),
                group: Some("a=b".to_owned()),
                umask: Some(0o27),
                nice: Some(-5),
                oom_score_adj: Some(100),
                limits: LimitedResource::ALL.into_iter().zip([Some(0), None].into_iter().cycle()).collect(),
            },
        }
    }

    #[test]
    fn orders_survive_the_way_to_the_launcher() {
        let minimal = Orders {
            args: Vec::new(),
            environment: Vec::new(),
            input: OsString::new(),
            open_files: None,
            attributes: ProcessAttributes::default(),
            ..orders()
        };
        for orders in [orders(), minimal] {
            assert_eq!(Orders::read(&*orders.encode().unwrap()).unwrap(), orders);
        }
    }

    #[test]
    fn incomplete_orders_are_never_carried_out() {
        let whole = orders().encode().unwrap();
        for end in 0..whole.len() {
            assert!(Orders::read(&whole[..end]).is_err(), "cut at byte {end}");
        }
    }

    #[test]
    fn a_nul_byte_is_refused() {
        let orders = Orders { args: vec!["a\0b".into()], ..orders() };
        assert_eq!(orders.encode().unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn each_reply_is_told_apart() {
        for step in LaunchStep::VARIANTS {
            let failure = Failure { step: *step, errno: Errno::NOENT };
            let bytes = Reply::failed(failure);
            assert_eq!(Reply::decode(&bytes), Reply::Failed(failure));
            assert_eq!(Reply::decode(&[Reply::executing(0), bytes].concat()), Reply::Failed(failure));
        }
        assert_eq!(Reply::decode(&Reply::executing(65534)), Reply::Executed { user: 65534 });
        for exit in [Exit::Code(0), Exit::Code(255), Exit::Signal(9)] {
            let bytes = Reply::ended(exit);
            assert_eq!(Reply::decode(&[Reply::executing(0), bytes.clone()].concat()), Reply::Ended(exit));
            assert_eq!(Reply::decode(&bytes), Reply::Nothing, "it was not executed");
        }
        assert_eq!(Reply::decode(EXECUTING), Reply::Nothing);
        assert_eq!(Reply::decode(b""), Reply::Nothing);
        assert_eq!(Reply::decode(b"exec"), Reply::Nothing);
    }
}
