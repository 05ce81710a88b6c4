//! A pretend Kustomer API: any size, scripted faults, an oracle.
//!
//! Start an organisation from blocking code, point a client at it, change it, ask what a perfect
//! replica would hold:
//!
//! ```
//! use fake_kustomer::{Bounds, Config, Fault, FaultRule, Matcher, Mutation, Pick, Simulator};
//!
//! let config = Config::tiny(7)
//!     .with_count("conversation", 500)
//!     .with_fault(FaultRule::once(Matcher::on("search", "conversation"), Fault::status(503)));
//! let sim = Simulator::start(config)?;
//! println!("base URL {} token {}", sim.url(), sim.token());
//!
//! sim.control().advance(60_000);
//! let pick = Pick::Random(25);
//! sim.control().mutate(&Mutation::update("conversation", pick))?;
//! let held = sim.oracle().held("conversation", Bounds::all())?;
//! assert_eq!(held.len(), 500);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A record is a pure function of seed, stream and number, so that ten million records start at
//! once and take no memory; what changes later is kept in an overlay. The crate's README tells of
//! the endpoints, the JSON of faults and changes, and the limits.

mod api;
mod attributes;
mod cli;
mod clock;
mod config;
mod control;
mod data;
mod digest;
mod fault;
mod hostile;
mod list;
mod mutation;
mod oracle;
mod out;
mod overlay;
mod page;
mod random;
mod rate;
mod route;
mod search;
mod select;
mod simulator;
mod sorted;
mod state;
mod timeline;
mod wire;
mod world;

pub use cli::SimulateArgs;
pub use clock::{ClockConfig, When};
pub use config::{
    Config, ErrorShape, KlassConfig, Merged, PastCap, RateAlgorithm, RateConfig, RateHeaders,
    ResetUnit, SearchConfig, Ties, Token, TotalMode,
};
pub use control::Control;
pub use digest::{digest, digest_attributes};
pub use fault::{Fault, FaultBody, FaultHit, FaultRule, Hook, Matcher};
pub use hostile::{Hostile, HostileBytes, Poison};
pub use mutation::{Activity, Mutation, Outcome, Pick};
pub use oracle::{Bounds, Held, Oracle, Run, Summary};
pub use out::timestamp;
pub use simulator::{Running, Simulator};
pub use state::Stats;
pub use timeline::Span;
