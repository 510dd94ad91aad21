//! chatd: a line-oriented chat daemon. Whoever connects types lines, and every line goes to everybody else.
//!
//! # The house
//!
//! Five floors; imports point down only, and no files import each other in a circle (`tests/tidy.rs` checks both).
//!
//! | floor | where | what lives there | knows nothing about |
//! |---|---|---|---|
//! | 4 | `src/bin/chatd.rs`, `src/bin/chatc.rs` | argv to exit code, a few lines each | - |
//! | 3 | [`service`] | being a Unix daemon: options, configuration, signals, systemd, logging, wiring | - |
//! | 2 | [`net`] | listeners, sessions, sockets | argv, signals, the environment |
//! | 1 | [`chat`] | rooms, their logs, the broker | paths, signals; of a socket only how to send |
//! | 0 | [`protocol`] | framing, cleaning, telnet, names, commands, views, notices: pure functions | everything |
//! | - | [`client`] | the companion: chatc, on floors 0 and 2 | the daemon's insides |
//! | - | [`duration`] | durations as people write them, for floor 3 and for chatc | everything |
//! | - | [`rt`] | the runtime: the only file that names async-std | everything |
//!
//! # Words
//!
//! *Session*: one connection. *Line*: one message without its ending. *Room*: who hears whom. *Member*: a
//! session in a room. *Name*: what a member is called. *View*: how a member wants lines shown; *form*: the
//! bytes that makes of them. *Log*: the room's recent lines in one form, in order. *Cursor*: how far a
//! member has been sent the log. *Notice*: a line from chatd itself. *Broker*: the one task that owns the
//! rooms. *Drain*: stop listening, deliver, close. *Handover*: what the next process takes over.
//!
//! # A line's journey
//!
//! 1. [`net::session`] reads what the socket has into a buffer that all sessions of a thread share.
//! 2. [`protocol::foreign`] looks at its beginning, [`protocol::line`] frames it, [`protocol::text`] cleans it.
//!    What is left of an unfinished line is kept in a small buffer that exists only while it is needed.
//! 3. All whole lines of one read go as one input through one bounded channel to the [`chat::broker`]. A
//!    session has at most one input under way; until the room has taken it in it reads nothing more.
//! 4. [`chat::house`] knows whose they are, and in which room; [`chat::room`] appends them to its
//!    [`chat::log`]s, one for each form in use: the bytes, once, and from whom they came.
//! 5. The broker sends each member that had been sent everything before what lies between its cursor and
//!    the head of the log, without its own lines and without waiting; much of it, to many, lies in pages that
//!    their sockets refer to. Whoever cannot take it all at once is left to its own session, which goes on when its
//!    socket is writable.
//!
//! # Invariants
//!
//! * One log, many cursors: a reader that stalls costs a cursor. Nothing is queued for anybody.
//! * Every member of a room hears the same order, without its own lines.
//! * In `names` and `json` nothing that anybody sends can seem to come from somebody else or from chatd, and
//!   a name, with all that looks like it, is held by one session at a time.
//! * The broker waits for nobody; an append waits for those who read, and for nobody else.
//! * Nothing a stranger does ends anything but its own session, or is logged above debug level.
//! * What is sent to a session never contains a control character that the sender chose (but for TAB, and
//!   with `raw`).
//! * All that has to be known to go on elsewhere is plain values, which can be taken out at any moment.
//!
//! # The handover
//!
//! At a restart, connections and all that is known of them go to the next process ([`service::handover`]):
//!
//! 1. stop accepting;
//! 2. every session stops where it stands ([`net::session::KeptSession`]);
//! 3. the broker takes in what is on its way, and ends ([`chat::KeptHouse`] is what it leaves);
//! 4. all of that goes to the service manager, which has the connections already;
//! 5. the process exits with 0; the next one goes on.
//!
//! After a crash the next process goes on as well, with what is known while chatd runs: the connections, a journal
//! of who they are ([`chat::journal`]), and marks of what half of a line is where ([`net::marks`]).
//!
//! # The shutdown, in order
//!
//! 1. stop accepting;
//! 2. sessions take what has already arrived (at most 64 KiB each) and stop reading; the lines go to
//!    the broker;
//! 3. the broker ends when its last input is gone;
//! 4. sessions write what is pending, up to `drain`;
//! 5. whoever is shown lines in `names` or `json` is told; each connection is shut down and closed;
//! 6. the process exits with 0.

pub mod chat;
pub mod client;
pub mod duration;
pub mod net;
pub mod protocol;
pub mod rt;
pub mod service;
