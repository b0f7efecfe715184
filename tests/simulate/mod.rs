//! Agents that misbehave by a plan, as the real program: what a peer, a file, a signal and the evidence show.

mod children;
mod documents;
mod ends;
mod heartbeats;
mod http;
mod plans;
mod status_files;
mod times;
mod trial;
