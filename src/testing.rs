//! Exports for the tests, the model, the fuzz targets and the benches.
//!
//! Only the feature `testing` exports it. Without that feature nothing but the two entry points is public, so the compiler
//! reports whatever the programs themselves do not use.
#![allow(missing_docs, reason = "each item is documented where it is defined")]

pub mod daemon {
    pub mod api {
        pub mod http {
            pub use crate::daemon::api::http::Http;
            pub use crate::daemon::api::http::control_auth::ControlAuth;
            pub use crate::daemon::api::http::route::paths;
        }
        pub mod socket {
            pub use crate::daemon::api::socket::file::SocketFile;
            pub use crate::daemon::api::socket::session::run;
            pub use crate::daemon::api::socket::{ConnSlot, Host, SocketPeer, serve};
        }
        pub use crate::daemon::api::metrics::DaemonMetrics;
    }
    pub mod checks {
        pub use crate::daemon::checks::evidence::Evidence;
        pub use crate::daemon::checks::exec::ExecCheckResult;
        pub use crate::daemon::checks::explain::explain;
        pub use crate::daemon::checks::http::{HttpCheck, HttpCheckResult};
        pub use crate::daemon::checks::limits::CheckLimits;
        pub use crate::daemon::checks::resources::{Counters, OpenFiles, ResourceCheck, SampleError, Usage};
        pub use crate::daemon::checks::status::Decision;
        pub use crate::daemon::checks::status_file::{StatusFacts, StatusFileCheck, StatusFileResult};
        pub use crate::daemon::checks::tcp::{TcpCheck, TcpCheckResult};
        pub use crate::daemon::checks::{CHECK_TIMEOUT, CheckResult, ScheduledCheck};
    }
    pub mod client {
        pub use crate::daemon::client::{ClientError, call};
    }
    pub mod control {
        pub use crate::daemon::control::{
            ControlApi, Declined, HeartbeatSender, LoopCounts, Order, Peer, ReloadRefused, ScrapeTarget,
        };
    }
    pub mod effects {
        pub use crate::daemon::effects::{
            Description, Effects, NotStarted, Notice, OutputError, ReloadError, Reloaded, Unproved,
        };
    }
    pub mod hooks {
        pub use crate::daemon::hooks::facts::{AgentFacts, HookFacts};
    }
    pub mod event_loop {
        pub use crate::daemon::event_loop::{EventLoop, EventLoopConfig};
    }
    pub mod processes {
        pub mod program {
            pub use crate::daemon::processes::program::{Ended, MAX_OUTPUT, Program, run};
        }
        pub use crate::daemon::processes::adoption::{Search, adopt};
        pub use crate::daemon::processes::check_run::{CheckCommand, CheckEnd, CheckRuns};
        pub use crate::daemon::processes::environment::of_agent;
        pub use crate::daemon::processes::follow::{LogPosition, NewOutput};
        pub use crate::daemon::processes::identity::identity_of;
        pub use crate::daemon::processes::launcher::{OpenFiles, PROGRAM as LAUNCHER};
        pub use crate::daemon::processes::output::{LogState, MARKER, rotate, tail};
        pub use crate::daemon::processes::secret::{IdentityKey, StartSecret};
        pub use crate::daemon::processes::signals::NamedSignal;
        pub use crate::daemon::processes::start::{Launch, StartError, Started, start};
        pub use crate::daemon::processes::starts::Starts;
        pub use crate::daemon::processes::table::ProcessTable;
        pub use crate::daemon::processes::trees::{MainExit, Trees};
        pub use crate::daemon::processes::usage::TreeUsage;
    }
    pub mod registry {
        pub use crate::daemon::registry::Registry;
        pub use crate::daemon::registry::dependencies::StopRefused;
        pub use crate::daemon::registry::entry::Entry;
        pub use crate::daemon::registry::heartbeat::{HeartbeatFacts, Proof, Rejected};
        pub use crate::daemon::registry::readiness::Notification;
        pub use crate::daemon::registry::saved::{Damaged, SavedRegistry, decode, encode};
        pub use crate::daemon::registry::terms::{AgentAction, AgentId, Decisions, DesiredAgent};
    }
    pub mod restart_guard {
        pub use crate::daemon::restart_guard::{COLLECTING, HoldReason, MASS, RestartGuard, RestartHold, STALL};
    }
    pub mod store {
        pub use crate::daemon::store::{Loaded, SaveError, Store, StoreError};
    }
}
pub mod agent {
    pub mod api {
        pub use crate::agent::api::health_status::{HealthEndpoint, health_status};
        pub use crate::agent::api::route::Route;
        pub use crate::agent::api::{Api, routes};
    }
    pub mod app {
        pub use crate::agent::app::run;
        pub use crate::agent::app::source::ConfigSource;
    }
    pub mod effects {
        pub use crate::agent::effects::{Effects, Notice, Settings};
    }
    pub mod event_loop {
        pub use crate::agent::event_loop::{EventLoop, EventLoopConfig, LoopEvent};
    }
    pub mod heartbeat {
        pub mod scheduler {
            pub use crate::agent::heartbeat::scheduler::{
                DeliveryChange, DeliveryResult, HeartbeatPolicy, HeartbeatScheduler,
            };
        }
        pub use crate::agent::heartbeat::failure::{Failure, Reason};
        pub use crate::agent::heartbeat::{Delivered, Sender, StartSecret, Transport};
    }
    pub mod metrics {
        pub use crate::agent::metrics::AgentMetrics;
    }
    pub mod reload {
        pub use crate::agent::reload::{ReloadError, ReloadRequest, ReloadResult};
    }
    pub mod snapshot {
        pub use crate::agent::snapshot::{HeartbeatView, Published, Snapshot, Usage};
    }
    pub mod status_file {
        pub use crate::agent::status_file::StatusWriter;
        pub use crate::agent::status_file::open::{Found, OpenError};
        pub use crate::agent::status_file::record::{Context, record};
        pub use crate::agent::status_file::write::WriteError;
    }
    pub mod usage {
        pub use crate::agent::usage::UsageError;
    }
    pub mod write_barrier {
        pub use crate::agent::write_barrier::{Submitted, WRITE_TIMEOUT, WriteBarrier, Written};
    }
}
