//! How a session joins the hub: finds out who the client is, and whether it may connect.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future;

use super::{READ_BUFFER, Session};
use crate::chat::{Arrival, Input, Sink};
use crate::net::close::{self, Close};
use crate::net::crash_table::FIRST_BYTE;
use crate::net::proxy::{BadHeader, HEADER_TIMEOUT, Header, MAX_HEADER, Source, read_header};
use crate::net::sessions::Refusal;
use crate::net::tls::Mode;
use crate::net::{Stage, login};
use crate::protocol::{Form, Notice, control};
use crate::rt;

impl Session {
    /// Joins the hub.
    ///
    /// # Errors
    /// Why the session is over before that.
    pub(super) async fn join(&mut self, arrival: Arc<Arrival>) -> Result<(), Close> {
        let form = Form::new(arrival.view, false);
        // If this process dies before the hub knows who it is, it joins anew.
        self.is_arriving = true;
        self.connection.set_mark(FIRST_BYTE, true);
        if self.header.is_some() {
            let source = future::poll_fn(|cx| self.poll_header(cx)).await?;
            self.welcome(source).map_err(|refusal| self.refuse(refusal, form))?;
        }
        self.secure(form).await?;
        let mut arrival = Box::new(Arc::unwrap_or_clone(arrival));
        arrival.greeting.clone_from(&self.net.settings().greeting);
        if self.connection.from().is_none() {
            let mut login = pin!(login::login_of(&*self.connection));
            let verified = future::poll_fn(|cx| {
                self.connection.register(cx);
                match self.net.stage() {
                    Stage::Frozen => Poll::Ready(Err(Close::Frozen)),
                    _ => login.as_mut().poll(cx).map(Ok),
                }
            });
            let node = self.net.settings().node.clone();
            arrival.verified = verified.await?.map(|login| login.at(node.as_deref()));
        }
        if let Some(named) = self.connection.tls().and_then(|tls| tls.name.clone()) {
            (arrival.verified, arrival.no_name) = (named.clone().ok(), named.err());
        }
        if let Some(name) = &arrival.verified {
            self.connection.set_login(name.as_str());
            let admitted = match self.net.registry.admit(None, self.connection.login(), rt::wall_clock()) {
                // Nobody knows who is banned: operators mend that.
                Err(Refusal::Denied) if self.net.is_of_operator(&*self.connection) => Ok(()),
                admitted => admitted,
            };
            admitted.map_err(|refusal| self.refuse(refusal, form))?;
        }
        if self.connection.from().is_none() && self.net.sessions.numbers.are_shared() {
            arrival.is_control = self.begins_with_operate().await?;
        }
        // The bans may have been read again since it was admitted.
        self.net.examine(&self.connection);
        let sink = Arc::clone(&self.connection) as Arc<dyn Sink>;
        self.send(Input::Join { id: self.id(), sink, arrival });
        Ok(())
    }

    /// Returns whether an operator wants to be in no room. All nodes are told of those who are in one, so this waits a moment
    /// for what the client says first, and takes none of it.
    async fn begins_with_operate(&mut self) -> Result<bool, Close> {
        if !self.net.is_of_operator(&*self.connection) {
            return Ok(false);
        }
        let since = rt::now();
        let is_so = control::begins_with_operate;
        future::poll_fn(|cx| self.poll_first_bytes(cx, Mode::Optional, since, is_so)).await
    }

    /// Reads the header of a proxy, and no byte behind it. Returns who the client is.
    pub(super) fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<Result<Source, Close>> {
        self.connection.register(cx);
        match self.net.stage() {
            Stage::Frozen => return Poll::Ready(Err(Close::Frozen)),
            Stage::Draining => return Poll::Ready(Err(Close::NoHeader(BadHeader::Cut))),
            Stage::Running => {}
        }
        if let Some(due) = self.header.as_ref().map(|header| header.since + HEADER_TIMEOUT) {
            if rt::now() >= due {
                return self.no_header(BadHeader::Late);
            }
            self.net.alarms.set(&mut self.alarm, due, &self.connection);
        }
        while self.connection.poll_readable(cx)?.is_ready() {
            match READ_BUFFER.with_borrow_mut(|buffer| self.take_header(buffer)) {
                Ok(Some(source)) => {
                    self.header = None;
                    return Poll::Ready(Ok(source));
                }
                Ok(None) => {}
                Err(Ok(reason)) => return self.no_header(reason),
                Err(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(Err(error)) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Pending
    }

    /// Takes what has arrived of the header. Returns who the client is, if the header is complete.
    ///
    /// # Errors
    /// Why it is no header, or that of the connection.
    fn take_header(&mut self, buffer: &mut [u8]) -> Result<Option<Source>, Result<BadHeader, io::Error>> {
        let Some(Header { begun, .. }) = self.header.as_deref_mut() else { return Ok(None) };
        let buffer = &mut buffer[..MAX_HEADER.saturating_sub(begun.len()).max(1)];
        let count = self.connection.peek(buffer).map_err(Err)?;
        if count == 0 {
            return Err(Ok(BadHeader::Cut));
        }
        let before = begun.len();
        begun.extend_from_slice(&buffer[..count]);
        let header = read_header(begun).map_err(Ok)?;
        let taken = header.map_or(count, |(_, length)| length - before);
        self.connection.receive(&mut buffer[..taken]).map_err(Err)?;
        Ok(header.map(|(source, _)| source))
    }

    fn no_header(&self, reason: BadHeader) -> Poll<Result<Source, Close>> {
        self.net.counters.refuse(&Refusal::Denied);
        if let Some(peer) = self.connection.peer() {
            log::debug!("session {} from the proxy {peer}: {reason}", self.id().0);
        }
        Poll::Ready(Err(Close::NoHeader(reason)))
    }

    /// Lets the client in that a header names.
    fn welcome(&self, source: Source) -> Result<(), Refusal> {
        let client = match source {
            Source::Client(client) => Some(client),
            Source::Proxy => self.connection.peer(),
        };
        // It has no address if it was gone at the beginning.
        client.map_or(Ok(()), |client| self.net.admit_client(&self.connection, client))
    }

    /// Tells the client why it may not connect.
    fn refuse(&self, refusal: Refusal, form: Form) -> Close {
        self.net.counters.refuse(&refusal);
        let notice = refusal.notice();
        self.turn_away(&notice, form, self.mode());
        Close::Refused(notice)
    }

    /// Sends the client the reason why it cannot connect, and ends the output. The reason is lost if the kernel does not
    /// take it at once. `mode` counts before a handshake.
    pub(super) fn turn_away(&self, notice: &Notice, form: Form, mode: Mode) {
        let mode = if self.connection.tls().is_some() { Mode::Off } else { mode };
        self.connection.say_last(&close::reason(&*self.connection, notice, form, mode));
        self.drop_input();
    }

    /// Drops the input of a connection that is closed next: the kernel would reset it, and what was sent last would be
    /// lost.
    pub(super) fn drop_input(&self) {
        let _ = READ_BUFFER.with_borrow_mut(|buffer| self.connection.discard(buffer));
    }
}
