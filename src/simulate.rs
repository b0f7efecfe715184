//! What programs that run simulated agents use: plans, acts and evidence.

pub use crate::agent::simulate::acts::*;
pub use crate::agent::simulate::child::become_child;
pub use crate::agent::simulate::evidence::{EvidenceEvent, EvidenceLine};
pub use crate::agent::simulate::plan::{Lives, Origin, Plan, Step};
pub use crate::agent::simulate::values::Within;
