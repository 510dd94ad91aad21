//! Who is in a crowd: what each session does follows from its number.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::ClientConfig;

use super::text::View;
use super::{Caller, GREETING};

/// The rooms, the one where everybody begins first.
pub const ROOMS: [&str; 2] = ["main", "ops"];

/// A crowd.
#[derive(Clone, Debug)]
pub struct Plan {
    pub address: SocketAddr,
    /// The other nodes, if the server is several: sessions come in at all of them in turn.
    pub more: Vec<SocketAddr>,
    /// Some sessions come in here, if there is such a socket.
    pub unix: Option<PathBuf>,
    /// How those speak TLS who come in over TCP; without any, they do not.
    pub tls: Vec<Arc<ClientConfig>>,
    /// The number of the first session.
    pub first: u32,
    pub sessions: u32,
    /// How many of them speak: the first ones.
    pub speakers: u32,
    /// The numbers of those who speak in another crowd on the same server.
    pub speakers_elsewhere: Range<u32>,
    /// How many crowds gather on that server when this one has.
    pub crowds_after: u32,
    /// How many lines they say in a second, together.
    pub rate: u32,
    /// How many lines they may be ahead of what is heard, if a slow machine is to slow them down: otherwise it would have
    /// full sockets and lines of long ago, of which a crash may lose more.
    pub most_ahead: Option<u64>,
    /// What a notice may begin with beside that of a crash; each is counted.
    pub news: &'static [&'static str],
    /// How often they speak.
    pub beat: Duration,
    /// How long slow readers read nothing, again and again.
    pub nap: Duration,
}

impl Plan {
    /// A crowd of sessions, of which one in ten speaks.
    pub fn new(address: SocketAddr, sessions: u32, rate: u32) -> Self {
        Self {
            address,
            more: Vec::new(),
            unix: None,
            tls: Vec::new(),
            first: 0,
            sessions,
            speakers: sessions.div_ceil(10),
            speakers_elsewhere: 0..0,
            crowds_after: 0,
            rate,
            most_ahead: None,
            news: &[],
            beat: Duration::from_millis(20),
            nap: Duration::from_secs(2),
        }
    }

    /// The numbers of all sessions.
    pub fn numbers(&self) -> Range<u32> {
        self.first..self.first + self.sessions
    }

    pub fn speaks(&self, number: u32) -> bool {
        (self.first..self.first + self.speakers).contains(&number)
    }

    /// The node of a session: 0 is at `address`.
    pub fn node_of(&self, number: u32) -> usize {
        number as usize % (1 + self.more.len())
    }

    fn address_of(&self, number: u32) -> SocketAddr {
        self.node_of(number).checked_sub(1).map_or(self.address, |at| self.more[at])
    }

    pub fn is_anybody_in(&self, room: usize) -> bool {
        self.numbers().any(|number| room_of(number) == room)
    }

    /// How many speak in a room, in all crowds.
    pub fn speakers_in(&self, room: usize) -> usize {
        let here = self.first..self.first + self.speakers;
        here.chain(self.speakers_elsewhere.clone()).filter(|number| room_of(*number) == room).count()
    }

    /// Whether there is anybody whom it hears.
    pub fn hears_somebody(&self, number: u32) -> bool {
        self.speakers_in(room_of(number)) > usize::from(self.speaks(number))
    }

    pub fn is_slow(&self, number: u32) -> bool {
        !self.speaks(number) && number % 25 == 24
    }

    /// How it speaks TLS, whatever its room and its view are.
    fn tls_of(&self, number: u32) -> Option<&Arc<ClientConfig>> {
        let chance = number.wrapping_mul(2_654_435_761) >> 16;
        self.tls.get(chance as usize % self.tls.len().max(1))
    }

    fn is_local(&self, number: u32) -> bool {
        self.unix.is_some() && number % 8 == 5
    }

    /// Connects one, which goes to its room and takes its view; what it hears after that is not read.
    pub fn connect(&self, number: u32) -> Caller {
        let mut caller = match &self.unix {
            Some(path) if self.is_local(number) => Caller::connect_unix(path),
            _ => match self.tls_of(number) {
                Some(config) => Caller::connect_tls(self.address_of(number), config),
                None => Caller::connect(self.address_of(number)),
            },
        };
        caller.expect(GREETING);
        if number.is_multiple_of(2) && !self.is_local(number) {
            caller.say(format!("/nick session-{number}\n"));
        }
        let room = room_of(number);
        if room != 0 {
            caller.say(format!("/join {}\n", ROOMS[room]));
        }
        let view = view_of(number);
        caller.say(format!("/view {}\n", view.word()));
        let fields = format!("\"code\":\"viewed\",\"view\":\"{}\"", view.word());
        caller.until(&view.notice(&fields, &format!("lines are shown in {} now", view.word())));
        caller
    }
}

/// The room of a session.
pub fn room_of(number: u32) -> usize {
    usize::from(number % 10 == 9)
}

/// The view of a session.
pub fn view_of(number: u32) -> View {
    match number % 7 {
        0 => View::Json,
        1 => View::Names,
        _ => View::Plain,
    }
}
