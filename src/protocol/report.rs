//! Reports: what chatd answers to operators, as codes, fields and sentences like all other notices.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::list::{Reader, because, counted, marked, stats, until_when};
use super::nodes::{ClusterState, NodeEntry};
use super::notices::notices;
use super::tls::TlsState;
use super::view::View;
use crate::duration::show_duration;

notices! {
    /// An answer to an operator.
    Report {
        /// Answer to `/kick`.
        Kick "kick" {
            /// The number of the connection.
            id: u64,
            /// The member's name.
            name: String,
            /// Whether the name is verified.
            verified: bool,
        } => format!("{} (#{id}) is sent away", marked(name, *verified));
        /// Answer to `/ban`.
        Ban "ban" {
            /// The address, network or login.
            subject: String,
            /// When it ends, in UTC (RFC 3339).
            #[serde(default, skip_serializing_if = "Option::is_none")]
            until: Option<String>,
            /// Number of connections that chatd closes for it.
            closed: usize,
        } => format!("{subject} is banned{}; connections closed: {closed}", until_when(until.as_deref()));
        /// Answer to `/ban`: it would cover the operator, too.
        BansYourself "bans_yourself" refused {
            /// The address, network or login.
            subject: String,
        } => format!("{subject} is not banned, because that covers you, too; type /ban --force {subject} if you mean it");
        /// Answer to `/ban`, `/unban` or `/mute` that cannot be done.
        CannotBan "cannot_ban" refused {
            /// Why, and what to do.
            reason: String,
        } => reason;
        /// Answer to `/unban` or `/unmute`.
        Lifted "lifted" {
            /// `ban` or `mute`.
            kind: String,
            /// What was banned, or who was muted.
            subject: String,
        } => format!("the {kind} of {subject} is lifted");
        /// Answer to `/unban` or `/unmute`: there is no such ban or mute.
        NotBanned "not_banned" refused {
            /// `ban` or `mute`.
            kind: String,
            /// As typed.
            subject: String,
        } => format!("there is no {kind} of exactly {subject}; see /bans");
        /// A ban or a mute, in the answer to `/bans`.
        BanEntry "ban_entry" {
            /// `ban` or `mute`.
            kind: String,
            /// Who.
            subject: String,
            /// When it ends, in UTC (RFC 3339).
            #[serde(default, skip_serializing_if = "Option::is_none")]
            until: Option<String>,
            /// The operator.
            by: String,
            /// The reason; may be empty.
            reason: String,
        } => format!("{kind} {subject}{} by {by}{}", until_when(until.as_deref()), because(reason));
        /// Answer to `/bans`, after the entries.
        Bans "bans" {
            /// Number of bans and mutes.
            count: usize,
            /// Number of entries after those shown.
            more: usize,
        } => format!("{}{}", counted(*count, "ban or mute", "bans and mutes"), if *more == 0 { String::new() } else { format!(", {more} not shown") });
        /// Answer to `/mute`.
        Mute "mute" {
            /// The member's name.
            name: String,
            /// Whether the name is verified.
            verified: bool,
            /// When it ends, in UTC (RFC 3339).
            #[serde(default, skip_serializing_if = "Option::is_none")]
            until: Option<String>,
        } => format!("{} is muted{}", marked(name, *verified), until_when(until.as_deref()));
        /// Answer to `/stats`.
        Stats "stats" {
            /// Seconds since chatd started, restarts without a disconnect included.
            uptime: u64,
            /// Number of restarts and crashes that the connections outlived.
            restarts: u64,
            /// Number of sessions.
            sessions: usize,
            /// Number of rooms.
            rooms: usize,
            /// Number of lines that members said.
            lines: u64,
            /// Lines per second in the last minute.
            rate: f64,
            /// Number of lines that members lost because they did not read.
            skipped: u64,
            /// Bytes of the lines of all rooms and of pending answers.
            memory: usize,
            /// In how many seconds chatd stops, after `/drain`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            stopping: Option<u64>,
            /// Number of lines that the archive has lost. Only with an archive.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            archive_lost: Option<u64>,
            /// Why the archive cannot be written, while it cannot.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            archive_error: Option<String>,
            /// How TLS is doing. Only with a certificate, or while a connection speaks it.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            tls: Option<TlsState>,
            /// How the cluster is doing. Only in one.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            cluster: Option<Box<ClusterState>>,
            /// The members that are farthest behind, at most ten.
            slowest: Vec<Reader>,
        } => {
            let mut numbers = vec![
                format!("up {}", show_duration(Duration::from_secs(*uptime))),
                format!("{restarts} restarts survived"),
                format!("{sessions} sessions in {rooms} rooms"),
                format!("{lines} lines, {rate:.1} per second"),
                format!("{skipped} skipped"),
                format!("{memory} bytes"),
            ];
            let show = |seconds: u64| show_duration(Duration::from_secs(seconds));
            numbers.extend(stopping.map(|seconds| format!("stopping in {}", show(seconds))));
            numbers.extend(archive_lost.map(|lost| format!("{lost} lost for the archive")));
            numbers.extend(archive_error.as_ref().map(|error| format!("the archive cannot be written: {error}")));
            numbers.extend(tls.as_ref().map(TlsState::shown));
            numbers.extend(cluster.as_ref().map(|cluster| cluster.shown()));
            stats(numbers, slowest)
        };
        /// A session, in the answer to `/sessions`.
        Session "session" {
            /// The number of the connection.
            id: u64,
            /// The member's name.
            name: String,
            /// Whether the name is verified.
            verified: bool,
            /// The address and port; empty for a unix socket.
            address: String,
            /// The name of its room.
            room: String,
            /// The view.
            view: View,
            /// Seconds since it sent something.
            idle: u64,
            /// Bytes that wait for it.
            behind: u64,
            /// Lines per second that it said in the last minute.
            rate: f64,
            /// `telnet` for a client that speaks telnet, otherwise `line`.
            client: String,
        } => {
            let (name, from) = (marked(name, *verified), if address.is_empty() { "unix" } else { address });
            format!("#{id} {name} {from} {room} {} {client}, idle {idle} s, {behind} bytes behind, {rate:.1} lines/s", view.name())
        };
        /// Answer to `/sessions`, after the sessions.
        Sessions "sessions" {
            /// Number of sessions.
            count: usize,
            /// Number of sessions after those shown.
            more: usize,
        } => format!("{}{}", counted(*count, "session", "sessions"), if *more == 0 { String::new() } else { format!(", {more} not shown") });
        /// Answer to `/watch`: the member hears rooms without being in them.
        Watch "watch" {
            /// The name of the room, or `*` for all.
            room: String,
        } => format!("you hear {} as well; /watch ends it", if room == "*" { "every room" } else { room });
        /// Answer to `/watch` without a room.
        NotWatching "not_watching" => "you hear your own room only";
        /// There is no such room.
        NoRoom "no_room" refused {
            /// The name.
            room: String,
        } => format!("there is no room {room}; see /rooms");
        /// A node, in the answer to `/nodes`.
        Node "node" {
            /// The node.
            #[serde(flatten)]
            entry: NodeEntry,
        } => entry.shown();
        /// Answer to `/nodes`, after the nodes.
        Nodes "nodes" {
            /// Number of nodes.
            count: usize,
        } => counted(*count, "node", "nodes");
        /// Answer to `/nodes`: there is no cluster.
        NoCluster "no_cluster" refused => "this chatd is no node of a cluster; see the key cluster";
        /// Answer to `/log`.
        Logging "logging" {
            /// The level.
            level: String,
        } => format!("chatd logs from {level} on, until a reload");
    }
}
