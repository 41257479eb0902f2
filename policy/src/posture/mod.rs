//! The state of a device against the bundle's levels: typed facts in, the levels it is at and what fails out.
//! Never collects a fact, and never believes one that is missing: a check passes on facts or it has failed.

mod assess;
mod check;
mod condition;
mod facts;
mod levels;
mod mode;
mod table;
mod uses;
mod wording;

pub use assess::{Assessment, Failed, assess};
pub use facts::{DeviceKind, DeviceKindError, Facts, FactsError, OnRecord, Told};
pub use levels::FactsNeeded;
pub use mode::Mode;

pub(crate) use check::{Check, Rows};
pub(crate) use condition::Conditions;
pub(crate) use levels::{Circle, Levels};
pub(crate) use table::{TABLES, Table};
pub(crate) use wording::{Wording, plain};
