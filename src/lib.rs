//! chatd
pub mod chat;
pub mod net;
pub mod protocol;
pub mod rt;
pub mod service;
