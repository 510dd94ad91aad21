//! Notices: what chatd itself says to one connection, as a code, its fields, and a sentence.
//!
//! `notices!` makes the only tables of them: this one, and that of [`Report`] for operators. In `json` a program gets the code and the fields, and never has to read the
//! sentence. In `plain` and `names` a member gets only the sentence, behind `-!- `. A code never changes its meaning.
//! The text of a member stands in no notice to another one, but for what operators say to others: `/say`, and the reason
//! of `/kick` and `/ban`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::list::{Person, RoomCount, because, listed, marked, until_when};
use super::notices::notices;
use super::proof::{NoName, Proof};
use super::report::Report;
use super::view::View;
use super::{Foreign, NameError};
use crate::duration::show_duration;

/// Why chatd closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The configuration has a mistake, so chatd serves no connection.
    CannotStart,
    /// The connection sent nothing for `idle_timeout`.
    Idle,
    /// chatd stops, and has sent everything that was pending.
    Stopping,
    /// This process got the connection from the one before, but nothing about it.
    Lost,
    /// chatd restarts, and the keys of this TLS connection end with the process.
    Restarting,
    /// The listener speaks TLS alone, and the client plain text.
    NeedsTls,
    /// The client has new keys for TLS, and the kernel cannot take them.
    NewKeys,
}

notices! {
    /// What chatd itself says to one connection. Its first field as an object is `code`.
    Notice and Report {
        /// The greeting of a connection that begins in `json`.
        Greeting "greeting" {
            /// The configured text: the sentence, and not a field of its own.
            #[serde(skip)]
            greeting: String,
        } => greeting;
        /// chatd dropped lines that were longer than `max_line`.
        TooLong "too_long" refused {
            /// Number of lines in this read.
            lines: u32,
            /// `max_line`, in bytes.
            max: usize,
        } => match lines {
            1 => format!("line too long (over {max} bytes), nobody got it"),
            _ => format!("{lines} lines too long (over {max} bytes), nobody got them"),
        };
        /// chatd cut lines that are too long as they are shown.
        Cut "cut" refused {
            /// Number of lines in this read.
            lines: u32,
            /// Longest line that is shown, in bytes: `SHOWN_GROWTH` times `max_line`.
            max: usize,
        } => {
            let lines = if *lines == 1 { "line".to_owned() } else { format!("{lines} lines") };
            format!("{lines} cut after {max} bytes: each byte that is not UTF-8 is shown as four")
        };
        /// There are `max_clients` connections, or chatd has no free file descriptor. chatd closes the connection.
        Full "full" => "server full";
        /// There are `max_per_ip` connections from this address or IPv6 network. chatd closes the connection.
        AddressFull "address_full" => "too many connections from your address";
        /// The configuration lets nobody connect from this address, or not without a PROXY header. chatd closes the
        /// connection.
        Denied "denied" => "your address may not connect here";
        /// The address or the verified name is banned. chatd closes the connection.
        Banned "banned" {
            /// When the ban ends, in UTC (RFC 3339).
            #[serde(default, skip_serializing_if = "Option::is_none")]
            until: Option<String>,
            /// Why, in the words of an operator.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            reason: Option<String>,
        } => {
            let until = until.as_ref().map_or_else(String::new, |until| format!(" until {until}"));
            let reason = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            format!("you are banned{until}{reason}")
        };
        /// chatd closes the connection.
        Closing "closing" {
            /// The reason.
            reason: Reason,
        } => match reason {
            Reason::CannotStart => "closing: chatd cannot start: its configuration has a mistake",
            Reason::Idle => "closing: you were idle for too long",
            Reason::Stopping => "closing: chatd is stopping",
            Reason::Lost => "closing: chatd was restarted and cannot go on with this connection; connect again",
            Reason::Restarting => "closing: chatd restarts; connect again",
            Reason::NeedsTls => "closing: only TLS is spoken here: use chatc --tls or openssl s_client",
            Reason::NewKeys => "closing: your TLS client has new keys, which the kernel here cannot take; connect again",
        };
        /// The client speaks another protocol. chatd closes the connection.
        Foreign "foreign" {
            /// The protocol.
            protocol: Foreign,
        } => protocol.notice();
        /// chatd crashed, and the connection outlived that.
        Crashed "crashed" => "chatd crashed and was restarted: some lines may be lost";
        /// chatd cannot reach the engine that puts in order what several nodes say.
        EngineAway "engine_away" => "chatd has lost touch with the rest of its cluster: what you say waits";
        /// It can reach it again.
        EngineBack "engine_back" => "chatd is in touch with the rest of its cluster again";
        /// Another engine puts it in order from now on, or it has lost something.
        EngineFailover "engine_failover" => "the cluster had a failure: a few of the last lines may be lost, or in another order for others";
        /// What is said in rooms is archived. A member is told once.
        Archived "archived" {
            /// How long lines are stored, in days; not there if for ever.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            days: Option<u32>,
        } => {
            let time = match days {
                None => "for ever".to_owned(),
                Some(1) => "for 1 day".to_owned(),
                Some(days) => format!("for {days} days"),
            };
            format!("what is said in rooms here is archived {time}; private messages are not")
        };
        /// Answer to `/help`: one notice for each command.
        Help "help" {
            /// How to type the command.
            command: String,
            /// What it does.
            about: String,
        } => format!("{command:<24} {about}");
        /// A command has the wrong arguments.
        Usage "usage" refused {
            /// How to type it.
            command: String,
        } => format!("usage: {command}");
        /// The text cannot be a name.
        BadName "bad_name" refused {
            /// The rule that it breaks.
            reason: NameError,
        } => reason;
        /// There is no such command.
        UnknownCommand "unknown_command" refused {
            /// How to type the command that was probably meant.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            nearest: Option<String>,
        } => match nearest {
            Some(command) => format!("no such command, nobody got it; did you mean {command}?"),
            None => "no such command, nobody got it; see /help, or begin it with // to say it".to_owned(),
        };
        /// Answer to `/nick`: the member has the name now.
        Named "named" {
            /// The name.
            name: String,
            /// Takes the name back when the connection is lost. Only in `json`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            key: Option<Key>,
        } => {
            // The key is a secret for programs: no sentence has it.
            let _ = key;
            format!("you are {name} now; /help says what else there is")
        };
        /// Somebody else has the name, or one that looks like it.
        Taken "taken" refused {
            /// The name asked for.
            name: String,
            /// A similar name that is free.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            hint: Option<String>,
        } => {
            let hint = hint.as_ref().map_or_else(String::new, |hint| format!("; {hint} is free"));
            format!("{name} is taken, or looks like a name that is{hint}")
        };
        /// The key is not that of the name, was used before, or has expired.
        BadKey "bad_key" refused {
            /// The name asked for.
            name: String,
        } => format!("the key for {name} is wrong, used or expired");
        /// The member's name is verified, so it cannot take another one.
        Verified "verified" refused {
            /// The member's name.
            name: String,
        } => format!("you are +{name}: the name is verified, and nobody can change it");
        /// The member is a guest again: somebody has connected whose verified name it had.
        Deposed "deposed" {
            /// The member's name before.
            name: String,
            /// The member's name now.
            now: String,
        } => format!("+{name}, whose name is verified, has connected: you are {now} now");
        /// The member is a guest, though its name would be verified: somebody was there before who has that name, or one
        /// that looks like it, with another proof.
        NameHeld "name_held" {
            /// The name that it would have.
            name: String,
            /// The member's name now.
            now: String,
            /// The verified name of the other one.
            holder: String,
            /// What proves that.
            proof: Proof,
        } => format!("+{holder}, {proof}, was here before you: you cannot be +{name}, you are {now}");
        /// The member is a guest, because the certificate of its client gives it no name.
        NoCertificateName "no_certificate_name" {
            /// Why.
            reason: NoName,
            /// The member's name now.
            now: String,
        } => format!("your certificate gives you no name: {reason}; you are {now}");
        /// The member is a guest again: another connection took its name with the key.
        NameTakenOver "name_taken_over" {
            /// The member's name before.
            name: String,
            /// The member's name now.
            now: String,
        } => format!("another connection has taken {name} with its key: you are {now} now");
        /// The member is a guest again: another node gave its name to somebody while this one was cut off.
        NameLost "name_lost" {
            /// The member's name before.
            name: String,
            /// The member's name now.
            now: String,
        } => format!("somebody took {name} while this server was cut off: you are {now} now");
        /// Answer to `/who`.
        Who "who" {
            /// Number of members in the room.
            count: usize,
            /// The first 100 of them.
            members: Vec<Person>,
        } => listed(*count, "here", members.iter().map(Person::shown).collect());
        /// Answer to `/msg`: chatd has the message for the receiver.
        Told "told" {
            /// The receiver's name.
            name: String,
            /// Whether the name is verified.
            verified: bool,
        } => format!("told {}", marked(name, *verified));
        /// Nobody has that name.
        Nobody "nobody" refused => "nobody is called that; see /who";
        /// Nobody has exactly that name.
        Alike "alike" refused {
            /// Members with a name that looks like it.
            members: Vec<Person>,
        } => {
            let names: Vec<String> = members.iter().map(Person::shown).collect();
            format!("nobody has exactly that name; similar names: {}", names.join(", "))
        };
        /// A member named itself after `/msg` or `/ignore`.
        Yourself "yourself" refused => "that is you";
        /// The receiver ignores the sender. The message is dropped.
        IgnoresYou "ignores_you" refused {
            /// The receiver's name.
            name: String,
            /// Whether the name is verified.
            verified: bool,
        } => format!("{} ignores you, and did not get it", marked(name, *verified));
        /// Too many bytes wait for the receiver. The message is dropped.
        DoesNotRead "does_not_read" refused {
            /// The receiver's name.
            name: String,
            /// Whether the name is verified.
            verified: bool,
        } => format!("{} is not reading, and did not get it", marked(name, *verified));
        /// Answer to `/join`.
        Entered "entered" {
            /// The name of the room.
            room: String,
            /// Number of members in it, this one included.
            members: usize,
            /// The room's epoch: a room that begins anew has another one.
            epoch: u64,
        } => {
            let _ = epoch;
            format!("you are in {room} now ({members} here)")
        };
        /// The member is in that room already.
        AlreadyThere "already_there" => "you are already in that room";
        /// There are `max_rooms` rooms already.
        TooManyRooms "too_many_rooms" refused {
            /// `max_rooms`.
            max: usize,
        } => match max {
            1 => "there is 1 room already; see /rooms".to_owned(),
            _ => format!("there are {max} rooms already; see /rooms"),
        };
        /// chatd is near `memory`, so it refuses a new room, or a view that nobody in the room has.
        NoMemory "no_memory" refused => "chatd has little memory left; try again later";
        /// Answer to `/rooms`.
        Rooms "rooms" {
            /// Number of rooms.
            count: usize,
            /// The 100 fullest of them.
            rooms: Vec<RoomCount>,
        } => {
            let noun = if *count == 1 { "room" } else { "rooms" };
            listed(*count, noun, rooms.iter().map(|one| format!("{} ({})", one.room, one.members)).collect())
        };
        /// Answer to `/last`, if `history` is 0.
        NoHistory "no_history" refused => "the history is turned off here";
        /// Answer to `/view`.
        Viewed "viewed" {
            /// The view now.
            view: View,
        } => format!("lines are shown in {} now", view.name());
        /// Answer to `/time`.
        Timed "timed" {
            /// Whether times are on.
            times: bool,
            /// The view: only `names` shows them.
            view: View,
        } => match (times, view) {
            (false, _) => "times are not shown",
            (true, View::Plain) => "times will be shown after /view names",
            (true, _) => "times are shown",
        };
        /// Answer to `/ignore`.
        Ignored "ignored" {
            /// The name of the ignored member.
            name: String,
            /// Whether the name is verified.
            verified: bool,
        } => {
            let name = marked(name, *verified);
            format!("you do not hear {name} any more; /ignore {name} undoes it")
        };
        /// Answer to `/ignore` for a member that was ignored.
        Heard "heard" {
            /// The name of the member.
            name: String,
            /// Whether the name is verified.
            verified: bool,
        } => format!("you hear {} again", marked(name, *verified));
        /// The member ignores as many others as it can.
        IgnoresTooMany "ignores_too_many" refused {
            /// The limit.
            max: usize,
        } => format!("you already ignore {max}, the most that you can; this one is not ignored");
        /// A command for operators, and the member is none.
        NotOperator "not_operator" refused => "you are not an operator of chatd";
        /// Answer to `/control`.
        Operating "operating" => "you are in no room; /help shows the commands of operators";
        /// A line of an operator who is in no room, and that only means something in one.
        Nowhere "nowhere" refused => "you are in no room, nobody got it; /help shows what you can do";
        /// An operator closes this connection.
        Kicked "kicked" {
            /// The reason; may be empty.
            reason: String,
        } => format!("closing: an operator sends you away{}", because(reason));
        /// The member is muted. Nobody gets what it says.
        Muted "muted" refused {
            /// When that ends, in UTC (RFC 3339).
            #[serde(default, skip_serializing_if = "Option::is_none")]
            until: Option<String>,
        } => {
            let until = until_when(until.as_deref());
            format!("an operator has muted you{until}: nobody gets what you say, and your name stays")
        };
        /// An operator tells everybody something.
        Announcement "announcement" {
            /// What.
            announcement: String,
        } => format!("to everybody: {announcement}");
        /// chatd stops soon, and lets nobody in.
        Draining "draining" {
            /// In how many seconds.
            seconds: u64,
        } => format!("chatd stops in {}", show_duration(Duration::from_secs(*seconds)));
        /// chatd does not stop after all.
        NotDraining "not_draining" => "chatd does not stop";
        /// An operator hears this room without being in it.
        Watched "watched" => "an operator hears what is said here";
    }
}

/// Makes a notice of a report.
impl From<Report> for Notice {
    fn from(report: Report) -> Self {
        Self::Report(Box::new(report))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_worded() {
        let too_long = |lines| Notice::TooLong { max: 16, lines }.to_string();
        assert_eq!(too_long(1), "line too long (over 16 bytes), nobody got it");
        assert_eq!(too_long(2), "2 lines too long (over 16 bytes), nobody got them");
    }
}
