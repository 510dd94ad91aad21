//! Several simulated houses, each a node with its own hub, and a model of the engine that orders what they submit.
//!
//! The `engine` has the streams: what every node submitted, in the one order of each room and the one of acts. The `end`
//! of a node is its sequencer: what it submits travels, is perhaps sent again, and comes back. A `world` is one run:
//! what people do, and what happens to nodes and engine. The `check` is what must be true when all is quiet.

#[cfg(test)]
mod bans;
#[cfg(test)]
mod check;
#[cfg(test)]
mod end;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod node;
#[cfg(test)]
mod plan;
#[cfg(test)]
pub mod world;
