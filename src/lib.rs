//! chatd: a line-oriented chat daemon. Clients connect and send lines, and every line goes to everybody else in the room.
//!
//! # The floors
//!
//! Five floors; imports point down only, and no files import each other in a circle, except `service/config` and the
//! command line (`tests/tidy.rs` checks both).
//!
//! | floor | where | what lives there | knows nothing about |
//! |---|---|---|---|
//! | 4 | `src/bin/chatd.rs`, `src/bin/chatc.rs` | argv to exit code, a few lines each | - |
//! | 3 | [`service`] | being a Unix daemon: options, configuration, signals, systemd, logging, handover, wiring | - |
//! | 3 | [`client`] | the companion chatc, which uses floors 0 and 2 | the daemon's insides |
//! | 2 | [`net`] | listeners, sessions, sockets, rate limit, deadlines, crash table | argv, signals, the environment |
//! | 1 | [`chat`] | the hub: rooms, members, names, logs, flow control, commands; the broker task | paths, signals, the clock; of a socket only a [`Sink`](chat::Sink) |
//! | 0 | [`protocol`] | framing, cleaning, telnet, names, commands, views, notices: pure functions | everything |
//! | - | [`duration`] | durations as people write them, for floor 3 | everything |
//! | - | [`rt`] | the runtime: the only file that names async-std | everything |
//!
//! # Words
//!
//! Each has one meaning, in code as in the manual. A type has the name of its word.
//!
//! | word | meaning |
//! |---|---|
//! | *session* | one connection, and its task |
//! | *line* | one message without its ending |
//! | *room* | who hears whom; the first is `main` |
//! | *member* | a session in a room |
//! | *name* | what a member is called |
//! | *view* | how a member wants lines shown: `plain`, `names` or `json` |
//! | *form* | the bytes of a line in a view: with times or without, with LF or CR LF |
//! | *entry* | what has a place in the order of a room: lines, or a member that joins, leaves or takes a name |
//! | *sequencer* | what gives the entries of a room their one order |
//! | *log* | the recent lines of a room in one form, in order |
//! | *feed* | a log with the members who read it |
//! | *cursor* | how far a member has been sent its log |
//! | *notice* | a line from chatd itself |
//! | *answer* | the notices that a command gets |
//! | *hub* | rooms, members and names together |
//! | *broker* | the task that owns the hub |
//! | *input* | what comes into the hub |
//! | *sink* | where the bytes of a member go |
//! | *patience* | how much longer a room waits for members that take less than `min_rate` |
//! | *drain* | stop listening, deliver, say goodbye |
//! | *handover* | what the next process takes over |
//! | *snapshot* | the hub in it, as plain values |
//! | *descriptor store* | where the service manager keeps descriptors for the next process |
//! | *parcel* | connections in the descriptor store |
//! | *crash table* | what the next process has to know of them if this one dies |
//!
//! # A line's journey
//!
//! The hub is the only writer. A session reads, and passes on what it has read, commands among it.
//!
//! 1. [`net::session`] reads what the socket has into a buffer that all sessions of a thread share.
//! 2. `net::intake` has [`protocol::foreign`] look at its beginning, [`protocol::line`] frame it and [`protocol::text`]
//!    clean it. It keeps what is left of an unfinished line in a small buffer, only while there is some.
//! 3. All whole lines of one read go as one [`Input`](chat::Input) through one bounded channel to the [`chat::broker`].
//!    A session has one input under way, and reads on when the hub has taken that in.
//! 4. The [`chat::hub`] takes it in in order, up to the first command; then it is the turn of the next session.
//!    `chat::interpreter` finds out what comes next, and `chat::commands` does what a command asks for.
//! 5. Lines become an [`Entry`](chat::Entry) and go through the [`chat::sequencer`]. What it gives back,
//!    [`chat::room`] encodes once for each form in use, and appends to the [`chat::log`] of each, or to none.
//! 6. [`chat::delivery`] sends each member what lies between its cursor and the head of its log, without its own lines
//!    and without waiting. What goes to many lies in pages that their sockets refer to.
//! 7. A session whose socket was full tells the hub when it takes more ([`Input::Writable`](chat::Input::Writable)).
//!
//! # Flow control
//!
//! * An entry that would overwrite lines that a member has not got yet waits in its room, and its session waits too.
//!   Other rooms go on.
//! * A room waits for a member that takes `min_rate`. For all others together it has patience for a second, which
//!   comes back within 30 seconds (`chat::flow`).
//! * When its patience is used up, a room does not wait for newcomers, or for members that it has given up on. They lose
//!   lines only when they fall a whole log behind, and are told how many.
//! * A log takes memory for lines that somebody has not got yet. When all of it comes near `memory`, the largest rooms
//!   drop their oldest lines, and the hub refuses new rooms and forms.
//!
//! # Invariants
//!
//! * One log, many cursors: a reader that stalls costs a cursor.
//! * Every member of a room hears the same order, without its own lines. What is owed to one member alone (answers,
//!   private messages, notices) has its place in that order.
//! * What one session says is taken in in order, lines and commands.
//! * In `names` and `json` nothing that anybody sends can seem to come from somebody else or from chatd.
//! * A name, with all that looks like it, is held by one session at a time, or by the sessions of one user of the
//!   machine.
//! * The hub waits for nobody: what has to wait is a value in a room or a member.
//! * Nothing a stranger does ends anything but its own session, or is logged above debug level.
//! * What a session is sent contains no control character that another one chose, except TAB (and except with `raw`).
//! * All that the next process has to know is plain values, which can be taken out between any two inputs.
//!
//! # The handover
//!
//! At a restart, connections and all that is known of them go to the next process ([`service::handover`]):
//!
//! 1. stop accepting;
//! 2. every session stops where it stands, and leaves what it has read to the hub ([`chat::Reading`]);
//! 3. the broker ends with the last session, and the hub becomes a [`chat::HubSnapshot`]: one value for each session
//!    and for each room;
//! 4. the snapshot goes to the descriptor store, which already has the connections, in parcels ([`net::parcel`]);
//! 5. the process exits with 0; the next one restores the hub and resumes the sessions.
//!
//! A snapshot has version 2. [`chat::version_1`] reads version 1.
//!
//! After a crash there are the parcels and the crash table ([`net::crash_table`]): who each session is, whom it
//! ignores, and whether half a line was being read from it or sent to it. From these the next process makes a snapshot
//! without lines.
//!
//! # The shutdown, in order
//!
//! 1. stop accepting;
//! 2. sessions take what has already arrived (at most 64 KiB each) and stop reading; the lines go to
//!    the broker;
//! 3. the broker delivers all of it, and then tells members in the views `names` and `json` that chatd
//!    is stopping;
//! 4. the broker sends what is pending, up to `drain`;
//! 5. each connection is shut down and closed as soon as it has got everything; the broker ends with
//!    the last one;
//! 6. the process exits with 0.

pub mod chat;
pub mod client;
pub mod duration;
pub mod net;
pub mod protocol;
pub mod rt;
pub mod service;
