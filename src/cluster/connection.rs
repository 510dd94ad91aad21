//! A connection to the engine: sends commands and receives replies, in plain text or with TLS.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ClientConnection;

use super::address::Address;
use super::resp::{Commands, MAX_IDLE, Malformed, NIL, Scanned, Scanner, Value, read};
use super::tls;
use crate::rt::{BlockingJobs, Io};

/// How long it may take to reach an address.
const CONNECT: Duration = Duration::from_secs(2);
/// Bytes that are read at once.
const READ: usize = 64 << 10;
/// Most bytes of a string in a reply, unless more is asked for: a node may list all its sessions in one.
const LONGEST: usize = 64 << 20;

/// Why a connection cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is lost, or there is none.
    Lost(String),
    /// The engine refuses a command: its code, and its words.
    Refused(String),
    /// An engine refuses the password, or what this user asks for; the words say which, and what to do.
    Barred(String),
    /// It is not the engine that it has to be; the words say why.
    Unfit(String),
    /// Another node has the name: its incarnation.
    NameHeld(u64),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(words) | Self::Refused(words) | Self::Barred(words) | Self::Unfit(words) => {
                f.write_str(words)
            }
            Self::NameHeld(_) => f.write_str("another chatd has the name of this node"),
        }
    }
}

impl Trouble {
    /// Makes one of what the engine says. Its words go to the log, so they are made harmless.
    pub fn refused(words: &[u8]) -> Self {
        let words = &words[..words.len().min(200)];
        Self::Refused(words.escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\""))
    }

    /// Returns the code of the engine; empty if it has said nothing.
    pub fn code(&self) -> &str {
        if let Self::Refused(words) = self { words.split(' ').next().unwrap_or_default() } else { "" }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<rustls::Error> for Trouble {
    fn from(error: rustls::Error) -> Self {
        Self::Unfit(tls::words(&error))
    }
}

impl From<Malformed> for Trouble {
    fn from(_: Malformed) -> Self {
        Self::Unfit("it does not speak the protocol of Redis".to_owned())
    }
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    io: Io,
    tls: Option<Box<ClientConnection>>,
    input: Vec<u8>,
    /// Bytes of the reply that was returned last.
    done: usize,
    /// Most bytes of a string in the next reply: a longer one counts as nothing.
    pub longest: usize,
}

impl Connection {
    /// Connects to an address.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn open(address: &Address) -> Result<Self, Trouble> {
        let (socket, tls) = match address {
            Address::Unix { path, .. } => (connect_unix(path)?, None),
            Address::Tcp { host, port, is_tls, .. } => {
                let socket = connect_tcp(host.clone(), *port).await?;
                (socket, if *is_tls { Some(tls::begin(host)?) } else { None })
            }
        };
        let io = Io::new(socket)?;
        Ok(Self { io, tls, input: Vec::new(), done: 0, longest: LONGEST })
    }

    /// Sends commands, for each of which [`Connection::receive`] then returns a reply.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn send(&mut self, commands: &Commands) -> Result<(), Trouble> {
        let Some(tls) = &mut self.tls else { return Ok(write_all(&self.io, commands.bytes()).await?) };
        for chunk in commands.bytes().chunks(READ) {
            tls.writer().write_all(chunk)?;
            let mut records = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut records)?;
            }
            write_all(&self.io, &records).await?;
        }
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            self.fill().await?;
        }
        Ok(())
    }

    /// Returns the next reply.
    ///
    /// # Errors
    /// The connection is lost. A refusal of the engine is a reply.
    pub async fn receive(&mut self) -> Result<Value<'_>, Trouble> {
        self.input.drain(..self.done);
        self.done = 0;
        if self.input.is_empty() && self.input.capacity() > MAX_IDLE {
            self.input = Vec::new();
        }
        let mut scanner = Scanner::new(std::mem::replace(&mut self.longest, LONGEST));
        loop {
            match scanner.scan(&self.input)? {
                Scanned::More => self.fill().await?,
                Scanned::TooLong { at, from, to } => self.drop_string(at, from, to).await?,
                Scanned::Whole(length) => {
                    self.done = length;
                    return Ok(read(&self.input[..length])?);
                }
            }
        }
    }

    /// Throws a string away while it comes.
    async fn drop_string(&mut self, at: usize, from: usize, to: usize) -> Result<(), Trouble> {
        let mut rest = to - from;
        loop {
            let come = rest.min(self.input.len() - from);
            self.input.drain(from..from + come);
            rest -= come;
            if rest == 0 {
                self.input.splice(at..from, NIL.iter().copied());
                return Ok(());
            }
            self.fill().await?;
        }
    }

    /// Sends one command. Returns its reply.
    ///
    /// # Errors
    /// The connection is lost, or the engine refuses.
    pub async fn ask(&mut self, parts: &[&[u8]]) -> Result<Value<'_>, Trouble> {
        let mut commands = Commands::default();
        commands.add(parts);
        self.send(&commands).await?;
        match self.receive().await? {
            Value::Error(words) => Err(Trouble::refused(words)),
            value => Ok(value),
        }
    }

    /// Reads more bytes.
    async fn fill(&mut self) -> Result<(), Trouble> {
        let Some(tls) = &mut self.tls else {
            let (io, input) = (&self.io, &mut self.input);
            return Ok(poll_fn(|cx| poll_read(io, input, cx)).await?);
        };
        let mut records = Vec::new();
        let io = &self.io;
        poll_fn(|cx| poll_read(io, &mut records, cx)).await?;
        let (mut rest, mut read) = (&records[..], Ok(()));
        while !rest.is_empty() && read.is_ok() {
            if tls.read_tls(&mut rest)? == 0 {
                return Err(Trouble::Unfit("TLS: it goes on after its end".to_owned()));
            }
            read = match tls.process_new_packets() {
                Ok(state) => {
                    let plain = state.plaintext_bytes_to_read() as u64;
                    tls.reader().take(plain).read_to_end(&mut self.input)?;
                    Ok(())
                }
                Err(error) => Err(error),
            };
        }
        // The engine is told, too, what is wrong.
        let mut answer = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut answer)?;
        }
        write_all(&self.io, &answer).await?;
        Ok(read?)
    }
}

/// Appends what there is to read.
fn poll_read(io: &Io, input: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    loop {
        input.reserve(READ);
        match rustix::io::read(io, rustix::buffer::spare_capacity(input)) {
            Ok(0) => return Poll::Ready(Err(io::Error::other("it has closed the connection"))),
            Ok(_) => return Poll::Ready(Ok(())),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => ready!(io.poll_readable(cx))?,
            Err(error) => return Poll::Ready(Err(error.into())),
        }
    }
}

async fn write_all(io: &Io, mut bytes: &[u8]) -> io::Result<()> {
    poll_fn(|cx| {
        while !bytes.is_empty() {
            match rustix::net::send(io, bytes, rustix::net::SendFlags::NOSIGNAL) {
                Ok(count) => bytes = &bytes[count..],
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => ready!(io.poll_writable(cx))?,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Ready(Ok(()))
    })
    .await
}

/// Connects to a unix socket without waiting: the kernel does not wait either, unless too many do already.
fn connect_unix(path: &std::path::Path) -> io::Result<OwnedFd> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&socket2::SockAddr::unix(path)?)?;
    Ok(socket.into())
}

async fn connect_tcp(host: String, port: u16) -> Result<OwnedFd, Trouble> {
    static JOBS: BlockingJobs = BlockingJobs::new(2);
    let connect = move || {
        let mut last = io::Error::other("its name has no address");
        for address in (host.as_str(), port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    match JOBS.run(CONNECT, connect).await {
        Some(stream) => Ok(stream?.into()),
        None => Err(Trouble::Lost("it does not answer".to_owned())),
    }
}
