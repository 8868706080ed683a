//! An HTTP request on the same loop (RFC 9110): [`HttpSession`] answers one request a connection and
//! then closes.
//!
//! | path | answer |
//! |---|---|
//! | `/` | a page for people, which asks for `/status.json` |
//! | `/status.json` | the numbers on it |
//! | `/healthz` | 200 as long as the loop turns |
//! | `/readyz` | 200, or 503 while the server is full or shuts down |
//! | `/metrics` | the [metrics] for Prometheus |
//! | any other | 404 |

use std::time::Duration;

use crate::config::Limits;
use crate::conn::Env;
use crate::conn::send_queue::SendQueue;
use crate::conn::timeouts::Timeout;
use crate::metrics::{self, Metrics, RelayState, Survey};
use crate::protocol::close_reason::CloseReason;
use crate::session::{Ctx, Flow, Step, page};
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

/// What is asked for, or why that is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Page,
    Status,
    Health,
    Readiness,
    Metrics,
    Malformed,
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
        let Some((request, has_body)) = self.request() else {
            return Step::new(input.len(), Flow::Starved);
        };
        if request.is_about_clients() && cx.env.survey.is_none() {
            return Step::new(input.len(), Flow::Survey);
        }
        let survey = cx.env.survey.take().unwrap_or_default();
        let response = request.response(&survey, cx.env).bytes(has_body);
        // An answer may be longer than what may be queued for a client: it is all that this one gets.
        out.push_last(&response, cx.env);
        Step::new(input.len(), Flow::Close(CloseReason::Answered))
    }

    /// The request, and whether a body is sent. `None` if it has not arrived whole.
    fn request(&self) -> Option<(Request, bool)> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&self.head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) if self.head.len() < MAX_HEAD_BYTES => return None,
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Some((Request::HeadTooLarge, true));
            }
            Err(_) => return Some((Request::Malformed, true)),
        }
        let path = request.path.unwrap_or_default().split('?').next();
        let is_head = request.method == Some("HEAD");
        let request = match (request.method, path) {
            (Some("GET" | "HEAD"), Some("/")) => Request::Page,
            (Some("GET" | "HEAD"), Some("/status.json")) => Request::Status,
            (Some("GET" | "HEAD"), Some("/healthz")) => Request::Health,
            (Some("GET" | "HEAD"), Some("/readyz")) => Request::Readiness,
            (Some("GET" | "HEAD"), Some("/metrics")) => Request::Metrics,
            (Some("GET" | "HEAD"), _) => Request::NotFound,
            _ => Request::MethodNotAllowed,
        };
        Some((request, !is_head))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.head.capacity()
    }

    pub(super) fn forget_input(&mut self) {
        self.head = Vec::new();
    }

    pub(super) fn since(&self) -> Moment {
        self.since
    }

    pub(super) fn timeout(&self) -> (Moment, Timeout) {
        let timeout = Timeout::Close(CloseReason::RequestTimeout);
        (self.since + REQUEST_TIMEOUT, timeout)
    }
}

impl Request {
    /// Whether the answer needs a look at all clients.
    fn is_about_clients(self) -> bool {
        matches!(self, Self::Status | Self::Readiness | Self::Metrics)
    }

    fn response(self, survey: &Survey, env: &Env) -> Response {
        let Survey { metrics, .. } = survey;
        let (line, body) = match self {
            Self::Page => ("200 OK", page::PAGE.to_owned()),
            Self::Status => ("200 OK", page::status(survey, &env.limits, env.is_ending)),
            Self::Health => ("200 OK", "ok\n".to_owned()),
            Self::Readiness if env.is_ending => unavailable("ending: the server shuts down\n"),
            Self::Readiness => readiness(metrics, &env.limits),
            Self::Metrics => {
                let process = (env.process_stats)();
                ("200 OK", metrics::page(metrics, &env.limits, process))
            }
            Self::Malformed => ("400 Bad Request", "that is no HTTP request\n".to_owned()),
            Self::NotFound => (
                "404 Not Found",
                "there are /, /healthz, /readyz and /metrics\n".to_owned(),
            ),
            Self::MethodNotAllowed => ("405 Method Not Allowed", "use GET or HEAD\n".to_owned()),
            Self::HeadTooLarge => (
                "431 Request Header Fields Too Large",
                "the head of a request may have 8192 bytes and 64 fields\n".to_owned(),
            ),
        };
        Response {
            line,
            media_type: match self {
                Self::Page => "text/html; charset=utf-8",
                Self::Status => "application/json",
                Self::Metrics => metrics::CONTENT_TYPE,
                _ => "text/plain; charset=utf-8",
            },
            fields: match self {
                Self::Page => page::FIELDS,
                Self::MethodNotAllowed => "Allow: GET, HEAD\r\n",
                _ => "",
            },
            body,
        }
    }
}

/// Whether there is room for clients.
fn readiness(metrics: &Metrics, limits: &Limits) -> (&'static str, String) {
    let clients = metrics.clients.saturating_sub(metrics.http_connections);
    match limits.max_clients {
        Some(most) if clients >= most => {
            unavailable(format!("full: there are {clients} of {most} clients\n"))
        }
        _ => match metrics.relay.map(|relay| relay.state) {
            Some(RelayState::Starting) => {
                unavailable("starting: the other servers were not heard yet\n")
            }
            Some(RelayState::Split | RelayState::Rejoining) => {
                unavailable("cut off: the other servers do not hear this one\n")
            }
            Some(RelayState::Up | RelayState::Holding) | None => ("200 OK", "ready\n".to_owned()),
        },
    }
}

/// No client should be sent here, and why.
fn unavailable(why: impl Into<String>) -> (&'static str, String) {
    ("503 Service Unavailable", why.into())
}

/// What is sent.
#[derive(Debug)]
struct Response {
    line: &'static str,
    media_type: &'static str,
    /// Header fields of its own, each with its line end.
    fields: &'static str,
    body: String,
}

impl Response {
    fn bytes(&self, has_body: bool) -> Vec<u8> {
        let Self {
            line,
            media_type,
            fields,
            body,
        } = self;
        let length = body.len();
        let body = if has_body { body } else { "" };
        format!(
            "HTTP/1.1 {line}\r\nContent-Type: {media_type}\r\n\
             Content-Length: {length}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\n{fields}Connection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::RelayMetrics;

    fn request(head: &[u8]) -> Option<(Request, bool)> {
        let mut session = HttpSession::new(Moment::BEGINNING);
        session.head.extend_from_slice(head);
        session.request()
    }

    #[test]
    fn a_path_is_found_by_either_method() {
        for (head, expected) in [
            (
                "GET /healthz HTTP/1.1\r\n\r\n",
                Some((Request::Health, true)),
            ),
            (
                "GET /healthz?x=1 HTTP/1.0\n\n",
                Some((Request::Health, true)),
            ),
            (
                "GET /readyz HTTP/1.1\r\n\r\n",
                Some((Request::Readiness, true)),
            ),
            (
                "GET /metrics HTTP/1.1\r\n\r\n",
                Some((Request::Metrics, true)),
            ),
            (
                "HEAD /healthz HTTP/1.1\r\n\r\n",
                Some((Request::Health, false)),
            ),
            ("GET / HTTP/1.1\r\n\r\n", Some((Request::Page, true))),
            ("GET //x HTTP/1.1\r\n\r\n", Some((Request::NotFound, true))),
            ("HEAD /x HTTP/1.1\r\n\r\n", Some((Request::NotFound, false))),
            (
                "POST /healthz HTTP/1.1\r\n\r\n",
                Some((Request::MethodNotAllowed, true)),
            ),
            ("alice\r\n", Some((Request::Malformed, true))),
            ("GET /healthz HTTP/1.1\r\nHost: x\r\n", None),
            ("", None),
        ] {
            assert_eq!(request(head.as_bytes()), expected, "{head:?}");
        }
    }

    #[test]
    fn a_head_is_bounded() {
        let long = format!("GET /healthz HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
        let head = &long.as_bytes()[..MAX_HEAD_BYTES];
        assert_eq!(request(head), Some((Request::HeadTooLarge, true)));
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "X: y\r\n".repeat(MAX_HEADERS + 1)
        );
        assert_eq!(
            request(many.as_bytes()),
            Some((Request::HeadTooLarge, true))
        );
    }

    #[test]
    fn a_response_has_the_length_of_its_body() {
        let env = Env::new(Limits::default(), std::time::Instant::now());
        let survey = Survey::default();
        let response = |has_body| Request::Health.response(&survey, &env).bytes(has_body);
        let text = String::from_utf8(response(true)).expect("ASCII");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("Content-Length: 3\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nok\n"), "{text}");
        let text = String::from_utf8(response(false)).expect("ASCII");
        assert!(text.contains("Content-Length: 3\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n"), "{text}");
    }

    #[test]
    fn a_full_server_is_not_ready() {
        let limits = Limits {
            max_clients: Some(2),
            ..Limits::default()
        };
        let env = Env::new(limits, std::time::Instant::now());
        let mut survey = Survey::default();
        survey.metrics.clients = 1;
        assert_eq!(Request::Readiness.response(&survey, &env).body, "ready\n");
        survey.metrics.clients = 3;
        survey.metrics.http_connections = 1;
        let response = Request::Readiness.response(&survey, &env);
        assert_eq!(response.body, "full: there are 2 of 2 clients\n");
        assert_eq!(response.line, "503 Service Unavailable");
    }

    #[test]
    fn a_server_that_others_do_not_hear_is_not_ready() {
        let env = Env::new(Limits::default(), std::time::Instant::now());
        let mut survey = Survey::default();
        for (state, line) in [
            (RelayState::Starting, "503 Service Unavailable"),
            (RelayState::Up, "200 OK"),
            (RelayState::Holding, "200 OK"),
            (RelayState::Split, "503 Service Unavailable"),
            (RelayState::Rejoining, "503 Service Unavailable"),
        ] {
            survey.metrics.relay = Some(RelayMetrics {
                state,
                ..RelayMetrics::default()
            });
            let response = Request::Readiness.response(&survey, &env);
            assert_eq!(response.line, line, "{state}");
        }
    }
}
