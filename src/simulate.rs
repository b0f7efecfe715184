//! What programs that run simulated agents use: plans, acts and evidence.
//!
//! A simulated agent starts its own program again, with the arguments that [`become_child`] knows. A program that calls
//! [`agent_main`](crate::agent_main) for its agents has to call one of both for these arguments too.

pub use crate::agent::simulate::acts::*;
pub use crate::agent::simulate::child::become_child;
pub use crate::agent::simulate::evidence::{EvidenceEvent, EvidenceLine};
pub use crate::agent::simulate::plan::{Lives, Origin, Plan, Step};
pub use crate::agent::simulate::values::Within;
