//! HTTP for one page: the metrics. It answers GET and HEAD of the page, and refuses everything else.
//!
//! A client is no session: it does not count for `max_clients`, and no other process goes on with it. It sends one
//! request, gets one response, and is closed. Each client has 5 seconds for all of that and 8 KiB for its request, and
//! there are 8 clients at a time: the oldest one makes way for another. So no client can hold up anything but itself.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::Either;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use crate::rt;

/// The path of the page.
pub const PATH: &str = "/metrics";
/// Most clients at a time. For another one, chatd closes the connection of the one that came first.
pub const MOST_CLIENTS: usize = 8;
/// Most bytes of a request.
pub const MOST_HEAD: usize = 8 * 1024;
/// Most header fields of a request.
pub const MOST_FIELDS: usize = 64;
/// Most time for a request and its response.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes that chatd reads after a response. The kernel resets a connection that is closed with unread input, and
/// the response could be lost.
const MOST_DISCARDED: usize = 2 * 1024 * 1024;

/// The page, and the clients that are being answered.
pub struct Page {
    media_type: &'static str,
    render: Box<dyn Fn() -> String + Send + Sync>,
    /// Those that are being answered, the first one first. To drop one of these closes its connection.
    clients: Mutex<VecDeque<oneshot::Sender<Infallible>>>,
    timeout: Duration,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("media_type", &self.media_type).finish_non_exhaustive()
    }
}

impl Page {
    /// Makes a page that `render` writes anew for each client. `render` must not wait.
    pub fn new(media_type: &'static str, render: impl Fn() -> String + Send + Sync + 'static) -> Arc<Self> {
        let (render, clients) = (Box::new(render), Mutex::default());
        Arc::new(Self { media_type, render, clients, timeout: TIMEOUT })
    }

    /// Answers a client in a task of its own. If there are [`MOST_CLIENTS`] already, closes the connection of the first.
    pub fn serve(self: &Arc<Self>, socket: OwnedFd) {
        let (page, way) = (Arc::clone(self), self.make_way());
        match rt::Io::new(socket) {
            Ok(io) => drop(rt::spawn(async move { page.answer(&io, way).await })),
            Err(error) => log::debug!("a client that asks for metrics has failed: {error}"),
        }
    }

    /// Makes way for one more client. Returns what resolves when that has to make way for others.
    fn make_way(&self) -> oneshot::Receiver<Infallible> {
        let (client, way) = oneshot::channel();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|client| !client.is_canceled());
        if clients.len() >= MOST_CLIENTS {
            clients.pop_front();
        }
        clients.push_back(client);
        way
    }

    /// Answers a client, for as long as it may take.
    async fn answer(&self, io: &rt::Io, way: oneshot::Receiver<Infallible>) {
        let end = futures::future::select(Box::pin(rt::sleep(self.timeout)), way);
        match futures::future::select(Box::pin(self.exchange(io)), end).await {
            Either::Left((Ok(()), _)) => {}
            Either::Left((Err(error), _)) => {
                log::debug!("a client that asks for metrics has failed: {error}")
            }
            Either::Right((Either::Left(_), _)) => log::debug!("a client that asks for metrics is too slow"),
            Either::Right(_) => log::debug!("too many clients ask for metrics: the first one makes way"),
        }
    }

    /// Reads a request and sends the response. Then reads what else the client sends, until it closes.
    async fn exchange(&self, io: &rt::Io) -> io::Result<()> {
        let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
        let response = loop {
            let count = receive(io, &mut buffer).await?;
            head.extend_from_slice(&buffer[..count]);
            match self.respond(&head) {
                _ if head.is_empty() => return Ok(()),
                Some(response) => break response,
                None if count == 0 => break BAD.encode(),
                None => {}
            }
        };
        send_all(io, &response).await?;
        rustix::net::shutdown(io, Shutdown::Write)?;
        let mut discarded = 0;
        while discarded < MOST_DISCARDED {
            match receive(io, &mut buffer).await? {
                0 => break,
                count => discarded += count,
            }
            rt::yield_now().await;
        }
        Ok(())
    }

    /// Returns the response to a request; `None` if the request is not complete.
    fn respond(&self, head: &[u8]) -> Option<Vec<u8>> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(head) {
            Ok(httparse::Status::Partial) if head.len() < MOST_HEAD => return None,
            Ok(httparse::Status::Complete(length)) if length <= MOST_HEAD => {}
            _ => return Some(BAD.encode()),
        }
        let path = request.path.unwrap_or_default().split('?').next();
        Some(match request.method {
            _ if path != Some(PATH) => NOT_FOUND.encode(),
            Some("GET") => self.encode(true),
            Some("HEAD") => self.encode(false),
            _ => NOT_ALLOWED.encode(),
        })
    }

    fn encode(&self, has_body: bool) -> Vec<u8> {
        let body = (self.render)();
        let fields = format!("Content-Type: {}\r\n", self.media_type);
        encode("200 OK", &fields, &body, has_body)
    }
}

/// A response that refuses a request.
struct Refusal {
    status: &'static str,
    fields: &'static str,
    body: &'static str,
}

const BAD: Refusal = refusal("400 Bad Request", "", "this is no HTTP request of at most 8 KiB\n");
const NOT_FOUND: Refusal = refusal("404 Not Found", "", "there is only /metrics here\n");
const NOT_ALLOWED: Refusal = refusal("405 Method Not Allowed", "Allow: GET, HEAD\r\n", "use GET or HEAD\n");

const fn refusal(status: &'static str, fields: &'static str, body: &'static str) -> Refusal {
    Refusal { status, fields, body }
}

impl Refusal {
    fn encode(&self) -> Vec<u8> {
        let fields = format!("Content-Type: text/plain; charset=utf-8\r\n{}", self.fields);
        encode(self.status, &fields, self.body, true)
    }
}

/// Encodes a response. `has_body` is whether the body follows, which it does not for HEAD.
fn encode(status: &str, fields: &str, body: &str, has_body: bool) -> Vec<u8> {
    let length = body.len();
    let body = if has_body { body } else { "" };
    format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").into()
}

/// Receives into `buffer`, and waits for something. Returns the number of bytes; 0 is the end of input.
async fn receive(io: &rt::Io, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::net::recv(io, &mut *buffer, RecvFlags::empty()) {
            Ok((count, _)) => return Ok(count),
            Err(Errno::AGAIN) => future::poll_fn(|cx| io.poll_readable(cx)).await?,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sends all bytes, and waits until the socket has taken them.
async fn send_all(io: &rt::Io, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::net::send(io, bytes, SendFlags::NOSIGNAL) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::AGAIN) => future::poll_fn(|cx| io.poll_writable(cx)).await?,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use rustix::event::{PollFd, PollFlags};

    use super::*;

    const BODY: &str = "one\ntwo\n";

    fn page() -> Arc<Page> {
        Page::new("text/plain", || BODY.to_owned())
    }

    fn status(request: impl AsRef<[u8]>) -> Option<String> {
        let response = String::from_utf8(page().respond(request.as_ref())?).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nConnection: close"), "{head}");
        assert!(
            head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())) || body.is_empty(),
            "{head}"
        );
        Some(response.split(' ').nth(1).unwrap().to_owned())
    }

    #[test]
    fn only_get_and_head_of_the_page_are_answered() {
        for (request, expected) in [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "200"),
            ("GET /metrics HTTP/1.0\r\n\r\n", "200"),
            ("GET /metrics?name=x HTTP/1.1\r\n\r\n", "200"),
            ("HEAD /metrics HTTP/1.1\r\n\r\n", "200"),
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("GET /metrics/ HTTP/1.1\r\n\r\n", "404"),
            ("GET http://a/metrics HTTP/1.1\r\n\r\n", "404"),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("get /metrics HTTP/1.1\r\n\r\n", "405"),
            ("GET /metrics\r\n\r\n", "400"),
            ("GET /metrics HTTP/2.0\r\n\r\n", "400"),
            ("hello\n", "400"),
            ("/nick ann\n", "400"),
            ("\x16\x03\x01", "400"),
            ("GET /metrics HTTP/1.1\r\nno field\r\n\r\n", "400"),
        ] {
            assert_eq!(status(request).as_deref(), Some(expected), "{request:?}");
        }
    }

    #[test]
    fn a_request_is_answered_when_it_is_complete() {
        let request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
        for length in 0..request.len() {
            assert_eq!(status(&request[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_request_is_bounded_in_bytes_and_fields() {
        let request = |field: String| format!("GET /metrics HTTP/1.1\r\n{field}\r\n\r\n");
        let long =
            |length: usize| request(format!("a: {}", "x".repeat(length - request("a: ".into()).len())));
        assert_eq!(status(long(MOST_HEAD)).unwrap(), "200");
        assert_eq!(status(long(MOST_HEAD + 1)).unwrap(), "400");
        assert_eq!(status(&long(2 * MOST_HEAD)[..MOST_HEAD - 1]), None);
        assert_eq!(status(&long(2 * MOST_HEAD)[..MOST_HEAD]).unwrap(), "400");
        let fields = |count: usize| request(vec!["a: b"; count].join("\r\n"));
        assert_eq!(status(fields(MOST_FIELDS)).unwrap(), "200");
        assert_eq!(status(fields(MOST_FIELDS + 1)).unwrap(), "400");
    }

    #[test]
    fn head_has_the_fields_of_get_and_no_body() {
        let answer = |method: &str| {
            let request = format!("{method} /metrics HTTP/1.1\r\n\r\n");
            String::from_utf8(page().respond(request.as_bytes()).unwrap()).unwrap()
        };
        assert_eq!(answer("GET"), answer("HEAD") + BODY);
        assert!(answer("HEAD").contains("Content-Type: text/plain\r\nContent-Length: 8\r\n"));
    }

    /// What a client reads that sends `request` and no end.
    fn exchange(page: &Arc<Page>, request: &[u8]) -> Vec<u8> {
        let (mut client, socket) = UnixStream::pair().unwrap();
        page.serve(socket.into());
        // It fails where the connection is closed before all of it is read.
        let _ = client.write_all(request);
        let mut response = Vec::new();
        client.read_to_end(&mut response).unwrap();
        response
    }

    #[test]
    fn a_megabyte_of_header_gets_a_response() {
        let mut request = b"GET /metrics HTTP/1.1\r\na: ".to_vec();
        request.resize(1 << 20, b'x');
        let response = exchange(&page(), &request);
        assert!(response.starts_with(b"HTTP/1.1 400 "), "{}", response.escape_ascii());
    }

    #[test]
    fn the_end_of_input_ends_a_request() {
        for (request, expected) in [("GET /metrics HTTP/1.1\r\n", "HTTP/1.1 400 "), ("", "")] {
            let (mut client, socket) = UnixStream::pair().unwrap();
            page().serve(socket.into());
            client.write_all(request.as_bytes()).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut response = String::new();
            client.read_to_string(&mut response).unwrap();
            assert!(
                response.starts_with(expected) && response.is_empty() == expected.is_empty(),
                "{response}"
            );
        }
    }

    #[test]
    fn a_client_that_does_nothing_is_closed_when_its_time_is_up() {
        let page = Page::new("text/plain", String::new);
        let page = Arc::new(Page { timeout: Duration::ZERO, ..Arc::into_inner(page).unwrap() });
        assert_eq!(exchange(&page, b""), b"");
        assert_eq!(exchange(&page, b"GET /metrics"), b"");
    }

    #[test]
    fn a_client_that_does_not_read_leaves_its_place_when_its_time_is_up() {
        let page = Page::new("text/plain", || "x".repeat(8 << 20));
        let page = Arc::new(Page { timeout: Duration::ZERO, ..Arc::into_inner(page).unwrap() });
        let (mut client, socket) = UnixStream::pair().unwrap();
        client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        page.serve(socket.into());
        // Until the other side has closed it, nothing is read.
        rustix::event::poll(&mut [PollFd::new(&client, PollFlags::empty())], None).unwrap();
        let mut response = Vec::new();
        client.read_to_end(&mut response).unwrap();
        assert!(response.len() < 8 << 20, "it was closed before all was sent");
    }

    #[test]
    fn the_first_of_too_many_clients_makes_way_and_no_other() {
        // Nobody is closed because its time is up.
        let page = Page::new("text/plain", || BODY.to_owned());
        let page = Arc::new(Page { timeout: Duration::MAX, ..Arc::into_inner(page).unwrap() });
        let mut clients: VecDeque<UnixStream> = (0..MOST_CLIENTS)
            .map(|_| {
                let (client, socket) = UnixStream::pair().unwrap();
                page.serve(socket.into());
                client
            })
            .collect();
        const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\n\r\n";
        // It is answered, though the others do nothing.
        assert!(exchange(&page, REQUEST).ends_with(BODY.as_bytes()));
        let mut response = String::new();
        clients.pop_front().unwrap().read_to_string(&mut response).unwrap();
        assert_eq!(response, "", "it has made way");
        for mut client in clients {
            client.write_all(REQUEST).unwrap();
            let mut response = String::new();
            client.read_to_string(&mut response).unwrap();
            assert!(response.ends_with(BODY), "{response}");
        }
    }

    #[test]
    fn there_are_never_more_clients_than_may_be() {
        let page = page();
        let ways: Vec<_> = (0..3 * MOST_CLIENTS).map(|_| page.make_way()).collect();
        assert_eq!(page.clients.lock().unwrap().len(), MOST_CLIENTS);
        drop(ways);
        let _way = page.make_way();
        assert_eq!(page.clients.lock().unwrap().len(), 1, "those that have been answered do not count");
    }
}
