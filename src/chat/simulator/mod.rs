//! A simulated house: a hub, many members and a clock, driven by a seed, against a model of what each member may hear.
//!
//! `run` has the tests, and says how a failure is run again. A `world` is one run: what people do, and when. Its
//! `house` hands each input of a `person` to the hub and each byte that a `socket` took to a `reader`. The reader checks
//! it line by line (`line`, `answers`) against the `order` of the rooms as the `sequencer` gave it back. In a third of the
//! worlds there is an archive, the `shelf`, which is checked, too. The model knows what is submitted, given back, sent and
//! signalled. It knows nothing of logs, cursors and feeds.
//!
//! `nodes` has several such houses, and an engine that orders what they submit.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod common;
#[cfg(test)]
mod given;
#[cfg(test)]
mod house;
#[cfg(test)]
mod ignored;
#[cfg(test)]
mod line;
#[cfg(test)]
mod nodes;
#[cfg(test)]
#[cfg(test)]
mod order;
#[cfg(test)]
mod person;
#[cfg(test)]
mod plan;
#[cfg(test)]
pub(super) mod random;
#[cfg(test)]
mod reader;
#[cfg(test)]
mod run;
#[cfg(test)]
pub(super) mod sequencer;
#[cfg(test)]
mod shelf;
#[cfg(test)]
mod socket;
#[cfg(test)]
mod talk;
#[cfg(test)]
mod window;
#[cfg(test)]
mod world;
