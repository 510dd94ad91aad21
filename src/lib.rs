//! chatd: a line-oriented chat daemon. Clients connect and send lines. Each line goes to everybody else in the room.
//!
//! # The floors
//!
//! There are five floors. Imports point down only, and no files import each other in a circle, except `service/config`
//! and the command line. `tests/tidy.rs` checks both.
//!
//! | floor | where | what lives there | knows nothing about |
//! |---|---|---|---|
//! | 4 | `src/bin/` | argv to exit code, a few lines for each program | - |
//! | 3 | [`service`] | being a Unix daemon: options, configuration, signals, systemd, logging, handover, wiring | - |
//! | 3 | [`client`] | the companion chatc, which uses floors 0 and 2 | the daemon's insides |
//! | 3 | [`ctl`] | the operators' program chatctl, which uses [`client`] and floors 0 and 2 | the daemon's insides |
//! | 2 | [`net`] | listeners, sessions, sockets, access and bans, rate limit, deadlines, crash table | argv, signals, the environment |
//! | 2 | [`cluster`] | the engine that gives several nodes one order | argv, signals, the environment |
//! | 1 | [`chat`] | the hub: rooms, members, names, logs, flow control, commands; the broker task | paths, signals, the clock; of a socket only a [`Sink`](chat::Sink) |
//! | 0 | [`protocol`] | framing, cleaning, telnet, names, commands, views, notices: pure functions | everything |
//! | 0 | [`certificate`] | certificates and keys: what they say of themselves, and what is wrong with their files | everything |
//! | - | [`duration`] | durations as people write them | everything |
//! | - | [`exit`] | the exit codes of the programs | everything |
//! | - | [`rt`] | the runtime: the only file that names async-std | everything |
//!
//! # Words
//!
//! Each word has one meaning, in code and in the manual. Types have the names of their words.
//!
//! | word | meaning |
//! |---|---|
//! | *session* | a connection and its task |
//! | *line* | a message without its line ending |
//! | *room* | members that get each other's lines; the first room is `main` |
//! | *member* | a session in a room |
//! | *view* | how a member wants lines shown: `plain`, `names` or `json` |
//! | *form* | a view with everything that decides the bytes of a line: times or not, LF or CR LF |
//! | *entry* | what has a place in the order of a room: lines, or a member that joins, leaves or takes a name |
//! | *sequencer* | gives the entries of a room their one order, and all acts another one |
//! | *node* | one chatd of several that run as one, a *cluster* |
//! | *engine* | the database (Redis or Valkey) behind the sequencer of a node, where all nodes append and read |
//! | *act* | what all nodes have to know in one order: who is there, who is called what |
//! | *roster* | who is on which node and who is called what, as all acts in their order have made it |
//! | *stamp* | the place of an entry in the engine: epoch, entry, number of its first line, time |
//! | *log* | the recent lines of a room in one form, in order |
//! | *feed* | a log with the members who read it |
//! | *cursor* | how far a member has been sent its log, or a room is in the order of its entries |
//! | *notice* | a line from chatd itself |
//! | *hub* | rooms, members and names together |
//! | *broker* | the task that owns the hub |
//! | *input* | what comes into the hub, from sessions and from floor 3 |
//! | *sink* | where the bytes of a member go |
//! | *patience* | how much longer a room waits for members that read less than `min_rate` |
//! | *quota* | how many bytes of private messages a member gets in a quarter of a second |
//! | *drain* | stop listening, deliver, say goodbye |
//! | *standing* | what chatd knows of a session even after a crash: name, room, view, whom it ignores |
//! | *handover* | what the next process takes over |
//! | *snapshot* | the hub as plain values, a part of the handover |
//! | *descriptor store* | where the service manager stores file descriptors for the next process |
//! | *channel* | how text goes through the socket of a TLS connection: the kernel or rustls makes the records |
//! | *parcel* | connections in the descriptor store |
//! | *operator* | a user of the machine who may guide chatd, as the kernel says |
//! | *host* | the daemon around the hub, as the hub sees it |
//! | *ban* | an address, a network or a verified name that is turned away |
//! | *proof* | what verifies a name: the kernel, for a user of the machine, or the certificate of a client |
//! | *mute* | a name under which nobody is heard |
//! | *archive* | what rooms have taken in, on disk |
//! | *crash table* | shared memory with what the next process has to know of each session if this one dies |
//!
//! # A line's journey
//!
//! The hub is the only writer. A session reads, and passes on what it has read, with the commands in it.
//!
//! 1. [`net::session`] reads what the socket has into a buffer that all sessions of a thread share.
//! 2. `net::intake` has [`protocol::foreign`] look at its beginning, [`protocol::line`] frame it and [`protocol::text`]
//!    clean it. It stores an unfinished line in a small buffer, which exists only while there is one.
//! 3. All whole lines of one read go as one [`Input`](chat::Input) through one channel to the [`chat::broker`]. The
//!    channel has no limit of its own. A session has one such input under way, and reads again when the hub has it.
//! 4. The [`chat::hub`] takes the input in order, up to the first command. Then the next session has its turn.
//!    `chat::interpreter` reads what comes next, and `chat::commands` does what a command asks for.
//! 5. Lines become an [`Entry`](chat::Entry) and go through the [`chat::sequencer`]. [`chat::room`] encodes what comes
//!    back once for each form in use. It appends that to the [`chat::log`] of every form, or to none.
//! 6. [`chat::delivery`] sends each member what is between its cursor and the head of its log, without its own lines
//!    and without waiting. Bytes for many members are in pages that their sockets refer to.
//! 7. A session with a full socket tells the hub when it takes more ([`Input::Writable`](chat::Input::Writable)).
//!
//! With several nodes, an entry goes to the engine in step 5, and comes back with a stamp: from that the room has its
//! numbers and the time, drops what it has taken in before, and tells members of lines that are gone. A room is opened
//! when it gets its first member here (`chat::opening`). Its cursor is in the snapshot and, exactly, in the crash table,
//! so the next process asks for what follows.
//!
//! # Names
//!
//! `/nick`, a verified arrival and a session that leaves are [acts](chat::Act): they go through the sequencer, too. The
//! [roster](chat::Roster) decides from the acts alone, in their order, so each node decides the same, and one node works
//! the same way as many. What follows for the sessions of this node, `chat::acts` does at the place of the act.
//!
//! A kernel proves only who the users of its own machine are. So with several nodes, the roster gives a name that the
//! kernel proves the node that the act comes from: `ann@alpha` ([`Name::at`](protocol::Name::at)). The node has no part in
//! what a name looks like, and nobody can type a name with one.
//!
//! # Flow control
//!
//! * An entry that would overwrite lines that a member has yet to get waits in its room, and its session waits too.
//!   Other rooms go on. With several nodes, the sequencer then keeps back what follows in that room.
//! * A room waits for a member that reads at `min_rate`. For all others together it has a patience of one second in any
//!   30 seconds (`chat::flow`).
//! * When its patience is used up, a room waits neither for newcomers nor for members that it gave up on. They lose
//!   lines only when they fall a whole log behind, and get a notice with the number.
//! * A log takes memory for lines that some member has yet to get. When all logs together come near `memory`, the
//!   largest rooms drop their oldest lines, and the hub refuses new rooms and forms.
//!
//! # Invariants
//!
//! * One log, many cursors: a reader that stalls costs only a cursor.
//! * Every member of a room gets the same order, without its own lines. Lines for one member alone (answers, private
//!   messages, notices) have their place in that order.
//! * The hub takes what a session sends in order, lines and commands.
//! * In `names` and `json` no line of a member can seem to come from another member or from chatd.
//! * One session at a time holds a name and all names that look like it; or sessions do whose names the same proof gives:
//!   the kernel, or certificates. With several nodes, the names of each kernel have its node.
//! * The hub waits for nobody: what has to wait is a value in a room or a member.
//! * A stranger can end only its own session, and can cause log messages only at `debug`.
//! * No session gets a control character that another one sent, except TAB (and except with `raw`).
//! * Everything that the next process has to know is plain values, which can be taken out between any two inputs.
//!
//! # The handover
//!
//! At a restart, the connections and everything that chatd knows of them go to the next process
//! ([`service::handover`]):
//!
//! 1. stop accepting;
//! 2. every session stops where it is, and gives the hub what it has read and not passed on ([`chat::Reading`]);
//! 3. the broker ends with the last session, and the hub becomes a [`chat::HubSnapshot`]: one value for each session
//!    and for each room;
//! 4. the snapshot goes to the descriptor store, which already has the connections, in parcels ([`net::parcel`]);
//! 5. the process exits with 0; the next one restores the hub and resumes the sessions.
//!
//! A snapshot has version 2. [`chat::version_1`] reads version 1.
//!
//! After a crash there are the parcels and the crash table ([`net::crash_table`]). The table has the standing of each
//! session, and whether half a line was being read from it or sent to it. From these the next process makes a snapshot
//! without lines.
//!
//! # Operators, access and metrics
//!
//! The kernel says who at a unix socket is an operator ([`net::login`]). Their commands stand in the one table, and the
//! hub carries them out in order, as all others (`chat::control`). With `/control` an operator is in no room
//! (`chat::nowhere`): no other node knows of it, so it gets in while the engine is away. For what is outside of the hub it asks
//! [`chat::Host`], which never waits: bans and mutes hold at once, and a task stores them ([`service::bans_file`]).
//!
//! Their act has the change of bans. With several nodes, the engine makes it as it gives the act its place, so a node that
//! comes later gets all bans with the roster. What it has itself it brings ([`Act::Brought`](chat::Act::Brought)).
//!
//! The lists `allow` and `deny`, and the bans, decide when a client connects and each time they change
//! (`net::admission`). With `proxy`, the address in the PROXY header counts ([`net::proxy`]).
//!
//! Metrics are counters that the floors add to as they go, so a scrape asks nobody ([`service::metrics`]). Their listener
//! makes no sessions: it answers one HTTP request and closes ([`net::http`]).
//!
//! # TLS
//!
//! A session looks at the first byte of its client before it joins, and does the handshake record by record
//! ([`net::tls`]). Then the kernel gets the keys, and the connection outlives the process as one in plain text does. The crash
//! table has the secrets from which new keys follow. If the kernel takes no keys, rustls goes on, and the connection ends
//! with the process.
//!
//! # The archive
//!
//! With `archive`, the dispatcher puts what rooms take in into a queue, before any member is sent it ([`chat::Archive`]).
//! A thread of its own makes objects of it and writes them ([`service::archive`]), so no line waits for a disk. At a start
//! a room has its numbers and lines from the first of these that knows it: the handover, the crash table, the archive. A
//! room that becomes empty goes on the same way (`chat::recall`).
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
//! 6. the archive writes what it has, for up to three seconds;
//! 7. the process exits with 0.

pub mod certificate;
pub mod chat;
pub mod client;
pub mod cluster;
pub mod ctl;
pub mod duration;
pub mod exit;
pub mod net;
pub mod protocol;
pub mod rt;
pub mod service;
