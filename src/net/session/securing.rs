//! How a session finds out whether its client speaks TLS, and does the handshake.

use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::future;

use super::Session;
use crate::net::close::Close;
use crate::net::crash_table::{FIRST_BYTE, HANDSHAKE};
use crate::net::keeping::Keep;
use crate::net::tls::alert::HANDSHAKE_RECORD;
use crate::net::tls::handshake::{self, Failure, Handshake, Step};
use crate::net::tls::{self, Channel, Identity, Mode};
use crate::net::{Counters, Stage};
use crate::protocol::{Form, Notice, Reason};
use crate::rt;

/// How many bytes of a client are looked at before it joins.
const MOST_FIRST: usize = 16;

/// Number of records in a row before the other sessions run: a message may come in very many that are there at once.
const RECORDS_IN_A_ROW: usize = 8;

impl Session {
    /// Speaks TLS from now on, if the listener and the client do.
    ///
    /// # Errors
    /// Why the session is over.
    pub(super) async fn secure(&mut self, form: Form) -> Result<(), Close> {
        let (settings, mode) = (self.net.settings(), self.mode());
        let is_secure = self.connection.tls().is_some();
        let Some(identity) = settings.tls.as_ref().filter(|_| mode != Mode::Off && !is_secure) else {
            // The certificate could not be read at a restart: it must not become plain text.
            let is_open = mode != Mode::Required || is_secure;
            return if is_open { Ok(()) } else { Err(self.refuse_plain_text(form)) };
        };
        let since = rt::now();
        let is_handshake = |first: &[u8]| first.first() == Some(&HANDSHAKE_RECORD);
        let is_tls = future::poll_fn(|cx| self.poll_first_bytes(cx, mode, since, is_handshake)).await?;
        match is_tls {
            true => self.shake_hands(identity, since).await,
            false if mode == Mode::Required => Err(self.refuse_plain_text(form)),
            false => Ok(()),
        }
    }

    /// Returns whether the listener speaks TLS.
    pub(super) fn mode(&self) -> Mode {
        let settings = self.net.settings();
        let gate = self.connection.local().and_then(|local| settings.access.gate_of(local));
        gate.map_or(Mode::Off, |gate| gate.tls)
    }

    /// Tells the client that only TLS is spoken here. Returns why the session is over.
    fn refuse_plain_text(&mut self, form: Form) -> Close {
        // One that has said nothing waits for a line.
        self.turn_away(&Notice::Closing { reason: Reason::NeedsTls }, form, Mode::Optional);
        Close::NoTls(Failure::Plain)
    }

    /// Returns whether the client begins with bytes that are so.
    pub(super) fn poll_first_bytes(
        &mut self,
        cx: &mut Context<'_>,
        mode: Mode,
        since: Instant,
        are_so: impl Fn(&[u8]) -> bool,
    ) -> Poll<Result<bool, Close>> {
        self.connection.register(cx);
        match self.net.stage() {
            Stage::Frozen => return Poll::Ready(Err(Close::Frozen)),
            Stage::Draining if mode == Mode::Required => {
                return Poll::Ready(Err(Close::NoTls(Failure::Stopping)));
            }
            Stage::Draining => return Poll::Ready(Ok(false)),
            Stage::Running => {}
        }
        while self.connection.poll_readable(cx)?.is_ready() {
            let mut first = [0; MOST_FIRST];
            match self.connection.peek(&mut first) {
                Ok(0) if mode == Mode::Required => return Poll::Ready(Err(Close::NoTls(Failure::Cut))),
                Ok(count) => return Poll::Ready(Ok(are_so(&first[..count]))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        let wait = if mode == Mode::Required { self.net.settings().tls_timeout } else { tls::FIRST_BYTE };
        if self.is_past(since + wait) { Poll::Ready(Ok(false)) } else { Poll::Pending }
    }

    /// Does the handshake.
    async fn shake_hands(&mut self, identity: &Identity, since: Instant) -> Result<(), Close> {
        self.connection.set_mark(HANDSHAKE, true);
        let mut handshake = Handshake::new(identity, self.connection.as_fd(), since).map_err(Close::NoTls)?;
        if !handshake.is_prepared() {
            self.net.keeping.tell(Keep::Gone(self.id()));
        }
        let channel = match self.carry_out(&mut handshake).await {
            Ok(()) => handshake.finish(self.connection.as_fd()),
            Err(failure) => {
                handshake.give_up(self.connection.as_fd(), &failure);
                self.drop_input();
                Err(failure)
            }
        };
        let channel = channel.map_err(Close::NoTls)?;
        if matches!(channel, Channel::User(_)) {
            self.net.keeping.tell(Keep::Gone(self.id()));
        }
        // The next process could not read the name in the certificate again.
        let can_join_anew = channel.agreed().name.is_none();
        self.connection.set_channel(channel);
        if can_join_anew {
            self.connection.set_mark(FIRST_BYTE, true);
        }
        self.more_to_read = self.connection.has_received();
        Counters::count(&self.net.counters.handshakes);
        Ok(())
    }

    /// Takes records until the handshake is finished. What takes long is computed elsewhere.
    async fn carry_out(&mut self, handshake: &mut Handshake) -> Result<(), Failure> {
        let mut records: usize = 0;
        while !handshake.is_done() {
            records += 1;
            if records.is_multiple_of(RECORDS_IN_A_ROW) {
                rt::yield_now().await;
            }
            future::poll_fn(|cx| self.poll_record(cx, handshake)).await?;
            let is_costly = handshake.is_costly();
            let Some(step) = handshake.step() else { return Err(Failure::Cut) };
            let (step, taken) =
                if is_costly { self.compute(step, handshake.since()).await? } else { step.run() };
            handshake.go_on(step);
            // It may be an alert.
            future::poll_fn(|cx| self.poll_written(cx, handshake)).await?;
            taken?;
        }
        Ok(())
    }

    /// Runs a step on another thread.
    async fn compute(&mut self, step: Step, since: Instant) -> Result<(Step, Result<(), Failure>), Failure> {
        let mut job = pin!(handshake::JOBS.run_to_end(move || step.run()));
        future::poll_fn(|cx| match self.check_handshake(cx, since) {
            Ok(()) => job.as_mut().poll(cx).map(Ok),
            Err(failure) => Poll::Ready(Err(failure)),
        })
        .await
    }

    fn poll_record(&mut self, cx: &mut Context<'_>, handshake: &mut Handshake) -> Poll<Result<(), Failure>> {
        self.check_handshake(cx, handshake.since())?;
        loop {
            if handshake.read(self.connection.as_fd())? {
                return Poll::Ready(Ok(()));
            }
            if self.connection.poll_readable(cx)?.is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll_written(&mut self, cx: &mut Context<'_>, handshake: &mut Handshake) -> Poll<Result<(), Failure>> {
        self.check_handshake(cx, handshake.since())?;
        loop {
            if handshake.write(self.connection.as_fd())? {
                return Poll::Ready(Ok(()));
            }
            if self.connection.poll_writable(cx)?.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Returns whether a handshake may go on that has been awaited `since` then.
    fn check_handshake(&mut self, cx: &Context<'_>, since: Instant) -> Result<(), Failure> {
        self.connection.register(cx);
        if self.net.stage() != Stage::Running {
            return Err(Failure::Stopping);
        }
        if self.is_past(since + self.net.settings().tls_timeout) { Err(Failure::Late) } else { Ok(()) }
    }

    /// Gives the socket what TLS has made of what was sent, and it has not taken yet. A client that goes on reading has
    /// `slow_timeout` from then on, however little it reads.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        if !self.is_unflushed {
            return Ok(());
        }
        let connection = Arc::clone(&self.connection);
        let Some(channel) = connection.channel() else { return Ok(()) };
        let written = channel.written();
        while self.is_unflushed {
            match channel.flush(connection.as_fd()) {
                Ok(is_flushed) => self.is_unflushed = !is_flushed,
                Err(error) => {
                    self.broken.get_or_insert(error);
                    self.is_unflushed = false;
                }
            }
            if self.is_unflushed && connection.poll_writable(cx)?.is_pending() {
                break;
            }
        }
        if channel.written() != written {
            self.deadlines.full = self.deadlines.full.map(|_| rt::now());
        }
        Ok(())
    }

    /// Returns why a session is over that stops where it is.
    pub(super) fn stop_here(&self) -> Close {
        if !self.connection.ends_with_process() {
            return Close::Frozen;
        }
        // What does not go out at once is lost: chatd waits for no reader here.
        self.connection.say_last(&[]);
        Close::Unkept
    }

    /// Returns whether it is due. Sets the alarm if not.
    fn is_past(&mut self, due: Instant) -> bool {
        let is_past = rt::now() >= due;
        if !is_past && self.alarm != Some(due) {
            self.net.alarms.set(&mut self.alarm, due, &self.connection);
        }
        is_past
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Waker;
    use std::time::Duration;

    use futures::channel::mpsc;
    use rustls::crypto::ring::cipher_suite::{
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS13_AES_128_GCM_SHA256,
    };
    use rustls::pki_types::CertificateDer;
    use rustls::{ClientConnection, StreamOwned, SupportedCipherSuite};

    use super::*;
    use crate::chat::testing::TestHub;
    use crate::chat::{Arrival, Broker, Hub, Limits, Local, SessionId, Signal, Sink};
    use crate::net::access::Gate;
    use crate::net::connection::Connection;
    use crate::net::listener::{Entrance, Listener};
    use crate::net::networks::NetworkMap;
    use crate::net::settings::Settings;
    use crate::net::testing::settings;
    use crate::net::tls::Agreed;
    use crate::net::tls::kernel::{self, Left};
    use crate::net::tls::testing::{self, Ends};
    use crate::net::{Address, Net};

    /// A chat at a TCP port that speaks TLS.
    struct Chat {
        address: SocketAddr,
        net: Arc<Net>,
        certificate: CertificateDer<'static>,
    }

    /// A client with TLS.
    type Client = BufReader<StreamOwned<ClientConnection, Drip>>;

    /// A socket that sends and receives so many bytes at a time.
    struct Drip(TcpStream, usize);

    impl Read for Drip {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(self.1);
            self.0.read(&mut buffer[..most])
        }
    }

    impl Write for Drip {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(&bytes[..bytes.len().min(self.1)])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Chat {
        fn open(mode: Mode) -> Self {
            Self::with(mode, |_| {})
        }

        fn with(mode: Mode, change: impl FnOnce(&mut Settings)) -> Self {
            let (identity, certificate) = testing::identity();
            let listener = Listener::bind(&Address::Tcp((Ipv4Addr::LOCALHOST, 0).into())).unwrap();
            let Address::Tcp(address) = *listener.address() else { panic!("no TCP") };
            let gate = Gate {
                address: Address::Tcp(address),
                list: None,
                proxies: NetworkMap::default(),
                tls: mode,
            };
            let mut settings = Settings { tls: Some(Arc::new(identity)), ..settings() };
            settings.access.gates = vec![gate];
            change(&mut settings);
            // Nothing is skipped, however slow a reader and the machine are.
            let limits = Limits { log_size: 2 << 20, ..TestHub::default().limits };
            let hub = Hub::new(limits, Box::<Local>::default(), rt::wall_clock());
            let net = Net::new(settings, Arc::clone(hub.traffic()));
            let (broker, inputs_tx) = Broker::new(hub);
            rt::spawn(broker.run());
            let arrival = Arc::new(Arrival::default());
            let entrance = Entrance { inputs_tx, arrival, page: None };
            rt::spawn(listener.run(Arc::clone(&net), entrance));
            let alarms = Arc::clone(&net);
            rt::spawn(async move { alarms.alarms.run().await });
            Self { address, net, certificate }
        }

        fn connect(&self) -> TcpStream {
            let stream = TcpStream::connect(self.address).unwrap();
            stream.set_nodelay(true).unwrap();
            stream
        }

        fn client_of(&self, suite: Option<SupportedCipherSuite>, drip: usize) -> Client {
            let tls = testing::client(&self.certificate, suite);
            BufReader::new(StreamOwned::new(tls, Drip(self.connect(), drip)))
        }

        /// A client with TLS that has been greeted.
        fn client(&self) -> Client {
            let mut client = self.client_of(None, usize::MAX);
            expect(&mut client, "hello\n");
            client
        }

        /// A client without TLS that has been greeted.
        fn plain(&self) -> BufReader<TcpStream> {
            let mut stream = BufReader::new(self.connect());
            expect(&mut stream, "hello\n");
            stream
        }

        /// What has been agreed upon, and whether the kernel has the keys.
        fn agreed(&self) -> Vec<(Agreed, bool)> {
            let all = std::cell::RefCell::new(Vec::new());
            self.net.sessions.any(|one| {
                let channel = one.channel();
                all.borrow_mut().extend(channel.map(|one| (one.agreed().clone(), one.is_in_kernel())));
                false
            });
            all.into_inner()
        }
    }

    #[track_caller]
    fn expect(client: &mut impl BufRead, expected: &str) {
        let mut line = Vec::new();
        client.read_until(b'\n', &mut line).unwrap();
        assert_eq!(String::from_utf8_lossy(&line), expected);
    }

    fn say(client: &mut BufReader<impl Read + Write>, text: &str) {
        client.get_mut().write_all(text.as_bytes()).unwrap();
        client.get_mut().flush().unwrap();
    }

    fn count(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    #[test]
    fn every_version_and_cipher_talks_with_plain_text() {
        let chat = Chat::open(Mode::Optional);
        let mut plain = chat.plain();
        let mut seen = Vec::new();
        for suite in rustls::crypto::ring::default_provider().cipher_suites {
            if suite.suite().as_str().unwrap().contains("_RSA_") {
                // The certificate is one of ECDSA.
                continue;
            }
            let mut client = chat.client_of(Some(suite), usize::MAX);
            expect(&mut client, "hello\n");
            say(&mut client, "from TLS\n");
            expect(&mut plain, "from TLS\n");
            say(&mut plain, "from the other\n");
            expect(&mut client, "from the other\n");
            let (agreed, is_in_kernel) = chat.agreed().pop().unwrap();
            let connection = chat.net.sessions.get(SessionId(chat.net.sessions.numbers.last())).unwrap();
            match kernel::left_in(&*connection, None) {
                Left::Keys(keys) => {
                    let keys = Channel::Kernel(keys);
                    let left = keys.agreed();
                    assert!(left.version == agreed.version && is_in_kernel);
                    assert!(left.cipher == agreed.cipher || left.version == "1.2", "{}", left.cipher);
                }
                left => assert!(matches!(left, Left::Nothing) && !is_in_kernel),
            }
            drop(connection);
            let version = format!("{:?}", suite.version().version).replace("TLSv1_", "1.");
            assert_eq!(agreed.version, version);
            assert_eq!(agreed.cipher.replace("TLS_", "TLS13_"), {
                let name = suite.suite().as_str().unwrap();
                if name.contains("TLS13") { name.to_owned() } else { name.replace("TLS_", "TLS13_") }
            });
            seen.push(agreed.cipher);
            say(&mut client, "");
            client.get_mut().conn.send_close_notify();
            client.get_mut().flush().unwrap();
            assert_eq!(client.read(&mut [0]).unwrap(), 0, "a close_notify comes back");
            while !chat.agreed().is_empty() {
                std::thread::yield_now();
            }
        }
        assert_eq!(seen.len(), 6, "{seen:?}");
        assert_eq!(count(&chat.net.counters.handshakes), 6);
        assert_eq!(count(&chat.net.counters.failed_handshakes), 0);
    }

    #[test]
    fn everything_may_come_and_go_a_byte_at_a_time() {
        let chat = Chat::open(Mode::Required);
        let mut other = chat.client();
        for suite in [TLS13_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256].map(Some) {
            let mut client = chat.client_of(suite, 1);
            expect(&mut client, "hello\n");
            say(&mut client, "drop by drop\n");
            expect(&mut other, "drop by drop\n");
            say(&mut other, "and back\n");
            expect(&mut client, "and back\n");
        }
    }

    #[test]
    fn plain_text_is_greeted_at_once_or_if_it_says_nothing_after_a_moment() {
        let chat = Chat::open(Mode::Optional);
        let mut first = chat.connect();
        first.write_all(b"at once\n").unwrap();
        expect(&mut BufReader::new(first), "hello\n");
        chat.plain();
    }

    #[test]
    fn plain_text_is_told_where_only_tls_is_spoken() {
        let chat = Chat::open(Mode::Required);
        let mut plain = chat.connect();
        plain.write_all(b"hi\n").unwrap();
        let mut heard = String::new();
        plain.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "-!- closing: only TLS is spoken here: use chatc --tls or openssl s_client\n");
        // A session is over a little later than its connection.
        while chat.net.sessions.count() > 0 {
            std::thread::yield_now();
        }
        assert_eq!(count(&chat.net.counters.failed_handshakes), 1);
    }

    #[test]
    fn tls_is_told_where_it_is_not_spoken() {
        let chat = Chat::open(Mode::Off);
        let mut client = chat.client_of(None, usize::MAX);
        let mut stream = client.get_ref().sock.0.try_clone().unwrap();
        client.get_mut().conn.write_tls(&mut stream).unwrap();
        let mut heard = String::new();
        client.get_mut().sock.read_to_string(&mut heard).unwrap();
        assert!(heard.starts_with("hello\n-!- this is chatd"), "{heard}");
    }

    #[test]
    fn what_is_no_handshake_gets_an_alert_and_is_closed() {
        let chat = Chat::open(Mode::Optional);
        let long = [&b"\x16\x03\x01\x48\x01"[..], &[0; 100]].concat();
        // A ClientHello of TLS 1.0, without extensions.
        let body = [&b"\x03\x01"[..], &[7; 32], b"\0\0\x02\0\x2f\x01\0"].concat();
        let old = [&[22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8], &body[..]].concat();
        let all: [&[u8]; 6] = [
            b"\x16garbage",
            b"\x16\x03\x01\0\0",
            b"\x16\x03\x01\0\x05\x02\0\0\x01\0",
            &long,
            &old,
            b"\x16\x02\0\0\x01a",
        ];
        for (at, bytes) in all.into_iter().enumerate() {
            let mut stream = chat.connect();
            stream.write_all(bytes).unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            assert!(matches!(heard[..], [21, 3, _, 0, 2, 2, _]), "{at}: {heard:?}");
        }
        // A session is over a little later than its connection.
        while chat.net.sessions.count() > 0 {
            std::thread::yield_now();
        }
        assert_eq!(count(&chat.net.counters.failed_handshakes), 6);
        chat.client();
    }

    #[test]
    fn a_handshake_that_takes_too_long_or_ends_is_closed_and_disturbs_nobody() {
        let chat = Chat::open(Mode::Optional);
        let (mut one, mut other) = (chat.client(), chat.client());
        let mut stalled = chat.connect();
        stalled.write_all(b"\x16\x03\x01\0\x40\x01").unwrap();
        let mut cut = chat.connect();
        cut.write_all(b"\x16\x03").unwrap();
        cut.shutdown(Shutdown::Write).unwrap();
        assert_eq!(cut.read_to_end(&mut Vec::new()).unwrap(), 7, "an alert");
        say(&mut one, "still here\n");
        expect(&mut other, "still here\n");
        let mut changed = (*chat.net.settings()).clone();
        changed.tls_timeout = Duration::ZERO;
        chat.net.set_settings(changed);
        assert_eq!(stalled.read_to_end(&mut Vec::new()).unwrap(), 7, "an alert");
    }

    #[test]
    fn one_that_has_said_all_is_heard_and_gets_a_close_notify() {
        let chat = Chat::open(Mode::Optional);
        let mut plain = chat.plain();
        let (mut polite, mut rude) = (chat.client(), chat.client());
        say(&mut polite, "last\nhalf");
        polite.get_mut().conn.send_close_notify();
        polite.get_mut().flush().unwrap();
        expect(&mut plain, "last\n");
        expect(&mut plain, "half\n");
        expect(&mut rude, "last\n");
        expect(&mut rude, "half\n");
        assert_eq!(polite.read(&mut [0]).unwrap(), 0, "it gets a close_notify");
        say(&mut rude, "mine\n");
        rude.get_mut().sock.0.shutdown(Shutdown::Write).unwrap();
        expect(&mut plain, "mine\n");
        assert_eq!(rude.read(&mut [0]).unwrap(), 0, "it gets one, too");
    }

    #[test]
    fn one_that_is_sent_away_gets_the_reason_and_a_close_notify() {
        let chat = Chat::open(Mode::Required);
        let mut client = chat.client();
        chat.net.sessions.dismiss(|_| Some(Notice::Denied));
        expect(&mut client, "-!- your address may not connect here\n");
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        let mut client = chat.client();
        if chat.agreed().iter().any(|agreed| agreed.1) {
            return;
        }
        futures::executor::block_on(chat.net.close_unkept(Duration::from_secs(60)));
        expect(&mut client, "-!- closing: chatd restarts; connect again\n");
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_client_may_have_new_keys_unless_the_kernel_cannot_take_them() {
        let chat = Chat::open(Mode::Required);
        let (mut one, mut other) = (chat.client(), chat.client());
        let takes_new_keys = chat.net.sessions.any(|one| one.channel().is_some_and(Channel::takes_new_keys));
        for text in ["a\n", "b\n"] {
            one.get_mut().conn.refresh_traffic_keys().unwrap();
            say(&mut one, text);
            if chat.agreed()[0].1 && !takes_new_keys {
                expect(
                    &mut one,
                    "-!- closing: your TLS client has new keys, which the kernel here cannot take; connect again\n",
                );
                assert_eq!(one.read(&mut [0]).unwrap(), 0);
                break;
            }
            expect(&mut other, text);
            say(&mut other, text);
            expect(&mut one, text);
        }
    }

    #[test]
    fn one_with_a_damaged_record_is_closed() {
        let chat = Chat::open(Mode::Required);
        let (mut one, mut other) = (chat.client(), chat.client());
        // A record that nobody has made.
        one.get_mut().sock.0.write_all(&[&b"\x17\x03\x03\0\x20"[..], &[1; 32]].concat()).unwrap();
        let error = one.read(&mut [0]).unwrap_err();
        assert!(chat.agreed()[0].1 || error.to_string().contains("BadRecordMac"), "{error}");
        while chat.net.sessions.count() > 1 {
            std::thread::yield_now();
        }
        let mut third = chat.client();
        say(&mut other, "on\n");
        expect(&mut third, "on\n");
    }

    #[test]
    fn a_slow_reader_gets_everything_byte_for_byte() {
        let chat = Chat::with(Mode::Optional, |settings| settings.send_buffer = 4096);
        let mut plain = chat.plain();
        let mut slow = chat.client();
        let text: String = (0..16_000).map(|line| format!("{line:>63}\n")).collect();
        let expected = text.clone();
        let all = std::thread::spawn(move || {
            let mut heard = vec![0; text.len()];
            for piece in heard.chunks_mut(999) {
                slow.read_exact(piece).unwrap();
                std::thread::yield_now();
            }
            (heard, slow)
        });
        say(&mut plain, &expected);
        let (heard, _slow) = all.join().unwrap();
        assert!(heard == expected.as_bytes());
    }

    #[test]
    fn a_session_with_a_full_socket_ends_behind_everything_that_it_was_sent() {
        let chat = Chat::with(Mode::Optional, |settings| settings.send_buffer = 4096);
        let mut late = chat.client();
        let connection = chat.net.sessions.get(SessionId(chat.net.sessions.numbers.last())).unwrap();
        // Until neither the socket nor rustls takes more.
        let line = "x".repeat(9_999) + "\n";
        let mut sent = String::new();
        while let Ok(count) = connection.send(&[io::IoSlice::new(line.as_bytes())]) {
            sent.push_str(&line[..count]);
        }
        connection.dismiss(Notice::Denied);
        drop(connection);
        let mut heard = String::new();
        late.read_to_string(&mut heard).unwrap();
        assert!(heard == sent + "-!- your address may not connect here\n", "{} bytes", heard.len());
    }

    #[test]
    fn a_client_that_reads_a_little_is_waited_for() {
        let Ends { channel, here, there, .. } = Ends::shake_hands();
        let connection = Arc::new(Connection::new(here.into(), SessionId(1), None).unwrap());
        connection.set_channel(channel);
        let net = Net::new(settings(), Arc::default());
        let (inputs_tx, _inputs) = mpsc::unbounded();
        let mut session = Session::new(net, Arc::clone(&connection), inputs_tx);
        let mut poll = || {
            assert!(session.poll(&mut Context::from_waker(Waker::noop())).is_pending());
            session.deadlines.full.unwrap()
        };
        // Neither the socket nor rustls takes more.
        while connection.send(&[io::IoSlice::new(&[b'x'; 9999])]).is_ok() {}
        connection.signal(Signal::Full);
        let full = poll();
        assert_eq!(poll(), full, "it reads nothing");
        // Until the socket takes a little more, and far from all.
        let before = connection.channel().unwrap().written();
        while rustix::io::ioctl_fionread(&there).unwrap() > 0 && poll() == full {
            (&there).read_exact(&mut [0; 1000]).unwrap();
        }
        assert!(poll() > full && connection.channel().unwrap().written() > before);
    }

    #[test]
    fn a_restart_does_not_wait_for_one_that_does_not_read() {
        let chat = Chat::with(Mode::Optional, |settings| settings.send_buffer = 4096);
        let stalled = chat.client();
        if chat.agreed()[0].1 {
            return;
        }
        let connection = chat.net.sessions.get(SessionId(chat.net.sessions.numbers.last())).unwrap();
        while connection.send(&[io::IoSlice::new(&[b'x'; 9999])]).is_ok() {}
        let mut reader = chat.client();
        // It would be a day.
        futures::executor::block_on(chat.net.close_unkept(chat.net.settings().drain));
        expect(&mut reader, "-!- closing: chatd restarts; connect again\n");
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        assert!(chat.net.sessions.any(|one| one.ends_with_process()), "what it has not taken is lost");
        drop(stalled);
    }

    #[test]
    fn a_client_hello_may_be_split_anywhere_and_nothing_behind_it_is_read() {
        let chat = Chat::open(Mode::Optional);
        let identity = chat.net.settings().tls.clone().unwrap();
        let mut hello = Vec::new();
        let mut client = chat.client_of(None, usize::MAX);
        client.get_mut().conn.write_tls(&mut hello).unwrap();
        let (mut there, here) = std::os::unix::net::UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        for split in 1..hello.len() {
            let mut handshake = Handshake::new(&identity, here.as_fd(), rt::now()).unwrap();
            there.write_all(&hello[..split]).unwrap();
            assert!(!handshake.read(here.as_fd()).unwrap());
            there.write_all(&hello[split..]).unwrap();
            there.write_all(b"more").unwrap();
            assert!(handshake.read(here.as_fd()).unwrap() && handshake.is_costly());
            let (step, taken) = handshake.step().unwrap().run();
            taken.unwrap();
            handshake.go_on(step);
            assert!(!handshake.is_done() && handshake.write(here.as_fd()).unwrap());
            assert!((&there).read(&mut [0; 9999]).unwrap() > 0);
            let mut rest = [0; 5];
            assert_eq!((&here).read(&mut rest).unwrap(), 4);
        }
    }
}
