//! INFO: what a server is, can do and wants, as JSON. Keys may come in any order, and those that are not
//! known here are skipped, however deep they are nested.

use std::fmt;
use std::net::SocketAddr;

use serde::Deserialize;

use crate::config::relay::RelayHost;

/// What a server tells of itself. What it does not tell is empty, zero or `false`.
///
/// ```
/// use line_chat::protocol::nats::Info;
///
/// let info = Info::parse(br#"{"server_id":"NABC","version":"2.9.10","max_payload":1048576,"new":[{}]}"#)?;
/// assert_eq!((info.version.as_str(), info.max_payload), ("2.9.10", 1_048_576));
/// # Ok::<(), line_chat::protocol::nats::info::InfoError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Info {
    /// Its key, which is another one after a restart.
    pub server_id: String,
    /// Its name, by default its key.
    pub server_name: String,
    /// Its version.
    pub version: String,
    /// The longest payload that it takes, in bytes with the headers before it. A longer one ends the link.
    pub max_payload: u64,
    /// Whether it knows headers.
    pub headers: bool,
    /// Whether it has JetStream.
    pub jetstream: bool,
    /// Whether it lets in only those that it knows.
    pub auth_required: bool,
    /// Whether it speaks nothing but TLS from here on.
    pub tls_required: bool,
    /// Whether it speaks TLS if it is asked.
    pub tls_available: bool,
    /// What is to be signed by those who have a key.
    pub nonce: Option<String>,
    /// Where the servers of its cluster are.
    #[serde(deserialize_with = "list_or_null")]
    pub connect_urls: Vec<String>,
    /// Whether it is about to end, so that its clients go elsewhere ("lame duck mode").
    pub ldm: bool,
    /// The name of its cluster, if it is part of one.
    pub cluster: Option<String>,
}

impl Info {
    /// Parses what is behind the word INFO.
    ///
    /// # Errors
    /// It is not a JSON object, or a value of a known key is of another type.
    pub fn parse(json: &[u8]) -> Result<Self, InfoError> {
        serde_json::from_slice(json).map_err(|error| InfoError(error.to_string()))
    }

    /// The addresses of the other servers that need not be resolved.
    pub fn literal_addrs(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let hosts = self.connect_urls.iter();
        hosts.filter_map(|url| url.parse::<RelayHost>().ok()?.addr())
    }
}

fn list_or_null<'de, D: serde::Deserializer<'de>>(json: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(json)?.unwrap_or_default())
}

/// Why an INFO was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfoError(String);

impl fmt::Display for InfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the engine sent a malformed INFO: {}", self.0)
    }
}

impl std::error::Error for InfoError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_alone_and_one_of_a_cluster_tell_of_themselves() {
        let alone = br#"{"server_id":"NAOV","server_name":"NAOV","version":"2.9.10","proto":1,"go":"go1.19.8","host":"127.0.0.1","port":42757,"headers":true,"max_payload":1048576,"jetstream":true,"client_id":4,"client_ip":"127.0.0.1"}"#;
        let expected = Info {
            server_id: "NAOV".into(),
            server_name: "NAOV".into(),
            version: "2.9.10".into(),
            max_payload: 1_048_576,
            headers: true,
            jetstream: true,
            ..Info::default()
        };
        assert_eq!(Info::parse(alone), Ok(expected));
        let member = br#" {"ldm":true,"xkey":"X","nested":{"a":[{"b":null}]},"nonce":"bm9","tls_required":true,
            "connect_urls":["10.0.0.1:4222","[2001:db8::1]:4223","nats.example:4222","nonsense:x"],
            "auth_required":true,"tls_available":true,"cluster":"C1","max_payload":1,"server_id":"NB"} "#;
        let info = Info::parse(member).expect("an INFO");
        assert!(info.ldm && info.auth_required && info.tls_required && info.tls_available);
        assert_eq!(info.nonce.as_deref(), Some("bm9"));
        assert_eq!(info.cluster.as_deref(), Some("C1"));
        assert_eq!(info.connect_urls.len(), 4);
        let addrs: Vec<_> = info.literal_addrs().map(|it| it.to_string()).collect();
        assert_eq!(addrs, ["10.0.0.1:4222", "[2001:db8::1]:4223"]);
    }

    #[test]
    fn what_is_left_out_or_null_is_nothing() {
        for json in ["{}", r#"{"connect_urls":null,"nonce":null,"cluster":null}"#] {
            assert_eq!(Info::parse(json.as_bytes()), Ok(Info::default()), "{json}");
        }
    }

    #[test]
    fn unknown_keys_may_be_as_deep_as_there_is_room() {
        let deep = 30 << 10;
        let json = format!(
            r#"{{"x":{}{},"version":"2"}}"#,
            "[".repeat(deep),
            "]".repeat(deep)
        );
        let info = Info::parse(json.as_bytes()).expect("an INFO");
        assert_eq!(info.version, "2");
    }

    #[test]
    fn what_is_no_info_is_refused_in_one_line() {
        for json in [
            &b""[..],
            b"{",
            b"[1]",
            b"nonsense",
            b"{\"max_payload\":-1}",
            b"{\"max_payload\":1e3}",
            b"{\"ldm\":1}",
            b"{\"server_id\":\"\xff\"}",
            b"{\"connect_urls\":[1]}",
            b"{} {}",
        ] {
            let error = Info::parse(json).expect_err("no INFO").to_string();
            assert!(
                error.starts_with("the engine sent a malformed INFO: "),
                "{error}"
            );
            assert_eq!(error.lines().count(), 1);
        }
    }
}
