//! How a workspace tells its PID namespace to the sidecar of the existing Coder templates: one POST of a number to `/`.
//!
//! What came from the network is parsed by httparse and answered by a pure function, [`judge`]; the loop below it only
//! reads, writes and keeps the time. The peer is the workspace itself, so nothing it sends may do more than name a
//! namespace, and no connection may hold up the next for long.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::exit::{Exit, Failed};
use crate::stop::{StopSignal, wait_any};

/// No more is read of a request, its body included; one of ours has some hundred bytes.
pub(crate) const MAX_REQUEST: usize = 8 << 10;
const MAX_HEADERS: usize = 64;
/// How long one connection may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// More bytes must come before it can be told.
    Unfinished,
    /// Trace the PID namespace with this number.
    Trace(u32),
    /// Anything else, with what is wrong.
    Bad(String),
}

/// What becomes of a number that came.
pub(crate) enum Answer<T> {
    /// It is traced; the server closes.
    Accepted(T),
    /// It cannot be; the peer may try another.
    Refused(String),
}

/// Listens at `address` until a number is accepted. `None`: somebody asked this process to end.
pub(crate) fn wait_for_namespace<T>(
    listener: &TcpListener,
    timeout: Duration,
    stop: &StopSignal,
    mut accept: impl FnMut(u32) -> anyhow::Result<Answer<T>>,
) -> anyhow::Result<Option<T>> {
    listener.set_nonblocking(true).context("preparing to listen")?;
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let advice = "nobody told the workspace's PID namespace in time: the workspace's start script must POST it \
                          (exectrace sidecar --help shows how), or --startup-timeout must be longer";
            return Err(Failed(Exit::HandshakeTimeout, advice.to_owned()).into());
        }
        wait_any(&[listener.as_fd(), stop.as_fd()], left);
        if stop.has_come() {
            return Ok(None);
        }
        let (stream, peer) = match listener.accept() {
            Ok(connection) => connection,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            // The peer went away before it was served, or descriptors are short for a moment.
            Err(error) => {
                tracing::warn!("a connection was not accepted: {error}");
                continue;
            }
        };
        if let Some(accepted) = serve(stream, peer, stop, &mut accept)? {
            return Ok(Some(accepted));
        }
    }
}

fn serve<T>(
    mut stream: TcpStream,
    peer: SocketAddr,
    stop: &StopSignal,
    accept: &mut impl FnMut(u32) -> anyhow::Result<Answer<T>>,
) -> anyhow::Result<Option<T>> {
    let request = match read(&mut stream, stop) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(peer = %peer, "a handshake broke off: {error}");
            return Ok(None);
        }
    };
    let (answer, accepted) = match request {
        Request::Trace(number) => match accept(number)? {
            Answer::Accepted(accepted) => (no_content(), Some(accepted)),
            Answer::Refused(why) => (bad_request(&why), None),
        },
        Request::Bad(why) => (bad_request(&why), None),
        Request::Unfinished => (bad_request("the request ends too early"), None),
    };
    if accepted.is_none() {
        tracing::warn!(peer = %peer, answer = answer.lines().last().unwrap_or_default(), "a handshake was refused");
    }
    // The peer need not wait for the answer.
    let _ = stream.write_all(answer.as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
    Ok(accepted)
}

fn read(stream: &mut TcpStream, stop: &StopSignal) -> io::Result<Request> {
    stream.set_nonblocking(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let deadline = Instant::now() + PATIENCE;
    let mut incoming = Incoming::default();
    let mut continued = false;
    loop {
        let mut part = [0; 1024];
        let room = part.len().min(incoming.room());
        let request = match stream.read(&mut part[..room]) {
            Ok(0) => return Ok(judge(&incoming.bytes)),
            Ok(count) => incoming.take(&part[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() || stop.has_come() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                wait_any(&[stream.as_fd(), stop.as_fd()], left);
                continue;
            }
            Err(error) => return Err(error),
        };
        match request {
            Request::Unfinished if expects_continue(&incoming.bytes) && !continued => {
                continued = true;
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            Request::Unfinished => {}
            request => {
                stream.set_nonblocking(false)?;
                return Ok(request);
            }
        }
    }
}

/// What has come of a request. It is judged the same in whatever pieces it comes.
#[derive(Default)]
pub(crate) struct Incoming {
    bytes: Vec<u8>,
}

impl Incoming {
    /// How many bytes more can matter. 0 only where all is judged.
    pub(crate) fn room(&self) -> usize {
        MAX_REQUEST.saturating_sub(self.bytes.len())
    }

    /// Takes the next piece.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Request {
        self.bytes.extend_from_slice(&piece[..piece.len().min(self.room())]);
        judge(&self.bytes)
    }
}

fn expects_continue(bytes: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(bytes).is_ok_and(|status| status.is_complete())
        && header(&request, "expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
}

/// Says what the bytes of a request, as far as they have come, ask for.
fn judge(bytes: &[u8]) -> Request {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let bytes = &bytes[..bytes.len().min(MAX_REQUEST)];
    let body_at = match request.parse(bytes) {
        Ok(httparse::Status::Complete(at)) => at,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_REQUEST => return Request::Unfinished,
        Ok(httparse::Status::Partial) => return Request::Bad("the request is too long".to_owned()),
        Err(error) => return Request::Bad(format!("no HTTP request: {error}")),
    };
    if request.method != Some("POST") {
        return Request::Bad("the method must be POST".to_owned());
    }
    if request.path != Some("/") {
        return Request::Bad("the path must be /".to_owned());
    }
    let essence = header(&request, "content-type").map(|value| value.split(';').next().unwrap_or_default().trim());
    if essence.is_some_and(|essence| !essence.eq_ignore_ascii_case("text/plain")) {
        return Request::Bad("the content type must be text/plain".to_owned());
    }
    if header(&request, "transfer-encoding").is_some() {
        return Request::Bad("the body must come with a Content-Length".to_owned());
    }
    let length = match header(&request, "content-length").map(str::parse::<usize>) {
        Some(Ok(length)) if length <= MAX_REQUEST - body_at => length,
        Some(Ok(_)) => return Request::Bad("the request is too long".to_owned()),
        Some(Err(_)) => return Request::Bad("Content-Length is no number".to_owned()),
        None => 0,
    };
    match bytes.get(body_at..body_at + length) {
        Some(body) => number(body),
        None => Request::Unfinished,
    }
}

fn header<'a>(request: &httparse::Request<'_, 'a>, name: &str) -> Option<&'a str> {
    let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    // What is not text is no value that we know.
    Some(std::str::from_utf8(found.value).unwrap_or("?").trim())
}

fn number(body: &[u8]) -> Request {
    let text = std::str::from_utf8(body).map(str::trim);
    match text.map(str::parse::<u32>) {
        Ok(Ok(0)) => Request::Bad("0 is no PID namespace".to_owned()),
        Ok(Ok(number)) => Request::Trace(number),
        _ => Request::Bad("the body must be the number of a PID namespace (readlink /proc/self/ns/pid)".to_owned()),
    }
}

fn no_content() -> String {
    "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_owned()
}

pub(crate) fn bad_request(why: &str) -> String {
    let length = why.len() + 1;
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{why}\n"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn post(headers: &str, body: &str) -> Request {
        judge(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).as_bytes())
    }

    fn is_bad(request: Request, word: &str) {
        match request {
            Request::Bad(why) => assert!(why.contains(word), "{why}"),
            other => panic!("{other:?} is not refused for its {word}"),
        }
    }

    #[test]
    fn a_number_is_accepted_as_the_templates_send_it() {
        for headers in ["", "Content-Type: text/plain\r\n", "content-type: Text/Plain; charset=utf-8\r\n"] {
            assert_eq!(post(headers, "4026532412"), Request::Trace(4_026_532_412));
        }
        assert_eq!(post("", " 4026532412\n"), Request::Trace(4_026_532_412));
    }

    #[test]
    fn everything_else_is_refused_with_what_is_wrong() {
        is_bad(post("", "0"), "0 is no PID namespace");
        for body in ["", "-1", "pid:[4026532412]", "4294967296", "4026532412 1", "\u{ff14}"] {
            is_bad(post("", body), "body");
        }
        for other in ["application/json", "application/x-www-form-urlencoded", "text/plainly", ""] {
            is_bad(post(&format!("Content-Type: {other}\r\n"), "1"), "content type");
        }
        is_bad(post("Transfer-Encoding: chunked\r\n", "1"), "Content-Length");
        is_bad(judge(b"GET / HTTP/1.1\r\n\r\n"), "POST");
        is_bad(judge(b"POST /x HTTP/1.1\r\n\r\n"), "path");
        is_bad(judge(b"POST / HTTP/1.1\r\n\r\n"), "body");
        is_bad(judge(b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"), "Content-Length");
        is_bad(judge(b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n"), "too long");
        is_bad(judge(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "no HTTP");
        is_bad(judge(&[b"POST / HTTP/1.1\r\nX: ", &b"x".repeat(MAX_REQUEST)[..]].concat()), "too long");
    }

    #[test]
    fn a_request_is_unfinished_until_its_body_is_there() {
        let whole = b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n4026532412";
        for len in 0..whole.len() {
            assert_eq!(judge(&whole[..len]), Request::Unfinished, "{len} bytes");
        }
        assert_eq!(judge(whole), Request::Trace(4_026_532_412));
    }

    #[test]
    fn a_request_is_judged_the_same_in_whatever_pieces_it_comes() {
        for (padding, is_too_long) in [(10, false), (MAX_REQUEST - 100, false), (MAX_REQUEST, true)] {
            let head = format!("POST / HTTP/1.1\r\nX: {}\r\nContent-Length: 10\r\n\r\n", "x".repeat(padding));
            let request = head + "4026532412";
            for len in [1, 1000, 1024, request.len()] {
                let mut incoming = Incoming::default();
                let judged = request.as_bytes().chunks(len).map(|piece| incoming.take(piece));
                let judged = judged.into_iter().find(|judged| *judged != Request::Unfinished);
                match judged.expect("a judgement") {
                    Request::Bad(why) if is_too_long => assert!(why.contains("too long"), "{why}"),
                    judged => assert!(!is_too_long && judged == Request::Trace(4_026_532_412), "{padding}: {judged:?}"),
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            judge(&bytes);
        }

        #[test]
        fn any_body_is_judged(body in ".{0,40}") {
            post("", &body);
        }
    }
}
