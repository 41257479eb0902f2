//! What may be done and by whom: the nouns, the access bundle, the rules, and one function that decides.
//! Never knows a clock, a network, a file or a database: everything it rests on is handed to it.
//!
//! Read in this order: [`names`] and [`LoginName`]; [`Bundle::parse`]; [`Facts`] and [`assess`]; [`Request`], [`decide`], [`Permit`]
//! and [`Denial`]; then [`who_can`], [`explain`] and [`in_common`], which ask the same engine.

mod bundle;
mod case;
mod channel;
mod decide;
mod denial;
mod destination;
mod explain;
mod factor;
mod hours;
mod in_common;
mod index;
mod lacking;
mod login_name;
pub mod names;
mod network;
mod pattern;
mod permit;
mod posture;
mod request;
mod rules;
mod span;
mod who_can;

pub use bundle::{
    Bundle, BundleError, Grant, Login, Operator, Recording, Require, SourceFile, Target, TargetLogin,
};
pub use channel::{Capability, ChannelKind, WordError};
pub use decide::{Decision, decide, login_fresh};
pub use denial::{Cause, Denial, Missing};
pub use destination::{Destination, DestinationError, SocketPath};
pub use explain::{Considered, Explanation, explain};
pub use factor::{DeviceFacts, Evidence, Factor, Held, UnknownWord};
pub use hours::{Hours, HoursError};
pub use in_common::in_common;
pub use login_name::{LoginName, LoginNameError};
pub use names::{
    AccountName, DeviceName, GrantName, Level, NameError, OperatorName, RoleName, SubsystemName, TargetName,
    TenantName, VaultName,
};
pub use network::{Address, Network, NetworkError};
pub use pattern::{Glob, Labels, PatternError, TargetPattern};
pub use permit::Permit;
pub use posture::{
    Assessment, DeviceKind, DeviceKindError, Facts, FactsError, FactsNeeded, Failed, Mode, OnRecord, Told,
    assess,
};
pub use request::Request;
pub use who_can::{Answer, Person, Reach, who_can};
