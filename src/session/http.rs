//! An HTTP request on the same loop: [`HttpSession`] answers `GET /healthz` with 200 as long as
//! the loop turns, and every other path with 404 (RFC 9110). It answers one request a connection and
//! then closes.

use std::time::Duration;

use crate::conn::overflow::Content;
use crate::conn::send_queue::SendQueue;
use crate::conn::timeouts::Timeout;
use crate::protocol::close_reason::CloseReason;
use crate::session::{Ctx, Flow, Step};
use crate::time::moment::Moment;

/// The longest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 8 << 10;

/// How many header fields a request may have.
const MAX_HEADERS: usize = 64;

/// How long a request may take to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A request that is arriving.
#[derive(Debug)]
pub(crate) struct HttpSession {
    head: Vec<u8>,
    since: Moment,
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    HeadTooLarge,
}

impl HttpSession {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            head: Vec::new(),
            since: now,
        }
    }

    pub(super) fn on_input(&mut self, input: &[u8], out: &mut SendQueue, cx: &mut Ctx<'_>) -> Step {
        let room = MAX_HEAD_BYTES.saturating_sub(self.head.len());
        let taken = input.get(..room).unwrap_or(input);
        self.head.extend_from_slice(taken);
        let Some((status, has_body)) = self.answer() else {
            return Step::new(input.len(), Flow::Starved);
        };
        let flow = cx.push(out, &status.response(has_body), Content::Reply);
        let flow = match flow {
            Flow::Continue => Flow::Close(CloseReason::Answered),
            flow => flow,
        };
        Step::new(input.len(), flow)
    }

    /// The answer, and whether its body is sent. `None` if the request has not arrived whole.
    fn answer(&self) -> Option<(Status, bool)> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&self.head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) if self.head.len() < MAX_HEAD_BYTES => return None,
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Some((Status::HeadTooLarge, true));
            }
            Err(_) => return Some((Status::BadRequest, true)),
        }
        let path = request.path.unwrap_or_default().split('?').next();
        let is_head = request.method == Some("HEAD");
        let status = match (request.method, path) {
            (Some("GET" | "HEAD"), Some("/healthz")) => Status::Ok,
            (Some("GET" | "HEAD"), _) => Status::NotFound,
            _ => Status::MethodNotAllowed,
        };
        Some((status, !is_head))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.head.capacity()
    }

    pub(super) fn forget_input(&mut self) {
        self.head = Vec::new();
    }

    pub(super) fn timeout(&self) -> (Moment, Timeout) {
        let timeout = Timeout::Close(CloseReason::LoginTimeout);
        (self.since + REQUEST_TIMEOUT, timeout)
    }

    pub(super) fn since(&self) -> Moment {
        self.since
    }
}

impl Status {
    /// The whole response.
    fn response(self, has_body: bool) -> Vec<u8> {
        let (line, body) = match self {
            Self::Ok => ("200 OK", "ok\n"),
            Self::BadRequest => ("400 Bad Request", "that is no HTTP request\n"),
            Self::NotFound => ("404 Not Found", "there is only /healthz\n"),
            Self::MethodNotAllowed => ("405 Method Not Allowed", "use GET or HEAD\n"),
            Self::HeadTooLarge => (
                "431 Request Header Fields Too Large",
                "the head of a request may have 8192 bytes and 64 fields\n",
            ),
        };
        let allow = match self {
            Self::MethodNotAllowed => "Allow: GET, HEAD\r\n",
            _ => "",
        };
        let length = body.len();
        let body = if has_body { body } else { "" };
        format!(
            "HTTP/1.1 {line}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\nCache-Control: no-store\r\n{allow}Connection: close\r\n\
             \r\n{body}"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(head: &[u8]) -> Option<(Status, bool)> {
        let mut session = HttpSession::new(Moment::BEGINNING);
        session.head.extend_from_slice(head);
        session.answer()
    }

    #[test]
    fn only_healthz_is_found() {
        for (head, expected) in [
            ("GET /healthz HTTP/1.1\r\n\r\n", Some((Status::Ok, true))),
            ("GET /healthz?x=1 HTTP/1.0\n\n", Some((Status::Ok, true))),
            ("HEAD /healthz HTTP/1.1\r\n\r\n", Some((Status::Ok, false))),
            ("GET / HTTP/1.1\r\n\r\n", Some((Status::NotFound, true))),
            ("HEAD /x HTTP/1.1\r\n\r\n", Some((Status::NotFound, false))),
            (
                "POST /healthz HTTP/1.1\r\n\r\n",
                Some((Status::MethodNotAllowed, true)),
            ),
            ("alice\r\n", Some((Status::BadRequest, true))),
            ("GET /healthz HTTP/1.1\r\nHost: x\r\n", None),
            ("", None),
        ] {
            assert_eq!(answer(head.as_bytes()), expected, "{head:?}");
        }
    }

    #[test]
    fn a_head_is_bounded() {
        let long = format!("GET /healthz HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
        let head = &long.as_bytes()[..MAX_HEAD_BYTES];
        assert_eq!(answer(head), Some((Status::HeadTooLarge, true)));
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "X: y\r\n".repeat(MAX_HEADERS + 1)
        );
        assert_eq!(answer(many.as_bytes()), Some((Status::HeadTooLarge, true)));
    }

    #[test]
    fn a_response_has_the_length_of_its_body() {
        let response = String::from_utf8(Status::Ok.response(true)).expect("ASCII");
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert!(response.contains("Content-Length: 3\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\nok\n"), "{response}");
        let response = String::from_utf8(Status::Ok.response(false)).expect("ASCII");
        assert!(response.contains("Content-Length: 3\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\n"), "{response}");
    }
}
