//! The words before the place of a [`ListenAddr`] and the keys behind it. A new word is added to
//! [`Words`] and a new key to [`Keys`], and nowhere else.

use crate::config::addr::{
    Eof, Eol, KeyProblem, Layers, ListenAddr, ListenAddrError, Place, Script, Service,
};
use crate::config::interactive::Profile;
use crate::config::unix_socket::{Group, UnixName, parse_group, parse_mode};

/// What a word before a place stands for.
#[derive(Debug, Clone, Copy)]
enum Word {
    Service(Service),
    Unix,
    Proxy,
    Tls,
}

const WORDS: [(&str, Word); 6] = [
    (
        "interactive",
        Word::Service(Service::Chat(Profile::Interactive)),
    ),
    ("plain", Word::Service(Service::Chat(Profile::Plain))),
    ("http", Word::Service(Service::Http)),
    ("unix", Word::Unix),
    ("proxy", Word::Proxy),
    ("tls", Word::Tls),
];

/// The words before a place.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) service: Option<Service>,
    pub(super) is_unix: bool,
    pub(super) layers: Layers,
}

impl Words {
    /// Splits the words off, if there are any. A word wins over a host of that name: `plain:6142` is a
    /// port.
    pub(super) fn split(addr: &str) -> Result<(Self, &str), ListenAddrError> {
        let mut words = Self::default();
        let Some((before, rest)) = addr.split_once(':') else {
            return Ok((words, addr));
        };
        let is_word = |text: &str| WORDS.iter().any(|&(word, _)| word == text);
        if !before.split('+').any(is_word) {
            return Ok((words, addr));
        }
        for text in before.split('+') {
            words.add(text)?;
        }
        Ok((words, rest))
    }

    fn add(&mut self, text: &str) -> Result<(), ListenAddrError> {
        let Some(&(text, word)) = WORDS.iter().find(|&&(word, _)| word == text) else {
            return Err(ListenAddrError::NoWord(text.to_owned()));
        };
        match word {
            Word::Service(service) => match self.service.and_then(Service::word) {
                None => self.service = Some(service),
                Some(other) if other == text => return Err(ListenAddrError::WordTwice(text)),
                Some(other) => return Err(ListenAddrError::WordsConflict(other, text)),
            },
            Word::Unix => set_flag(&mut self.is_unix, text)?,
            Word::Proxy => set_flag(&mut self.layers.proxy, text)?,
            Word::Tls if !cfg!(feature = "tls") => {
                return Err(ListenAddrError::NotSupported(text));
            }
            Word::Tls => set_flag(&mut self.layers.tls, text)?,
        }
        // Browsers, which HTTP is for, are turned away by TLS of the room.
        match self.layers.tls && self.service == Some(Service::Http) {
            true => Err(ListenAddrError::WordsConflict("http", "tls")),
            false => Ok(()),
        }
    }
}

/// Sets what a word stands for, once.
fn set_flag(flag: &mut bool, word: &'static str) -> Result<(), ListenAddrError> {
    match std::mem::replace(flag, true) {
        true => Err(ListenAddrError::WordTwice(word)),
        false => Ok(()),
    }
}

/// The keys behind a place.
#[derive(Debug, Default)]
pub(super) struct Keys {
    eof: Option<Eof>,
    eol: Option<Eol>,
    mode: Option<u32>,
    group: Option<Group>,
}

/// A key, and what is wrong with it.
type WrongKey = (String, KeyProblem);

impl Keys {
    /// Parses keys with commas between them.
    pub(super) fn parse(text: &str) -> Result<Self, WrongKey> {
        let mut keys = Self::default();
        for pair in text.split(',') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let added = keys.add(key, value);
            added.map_err(|problem| (key.to_owned(), problem))?;
        }
        Ok(keys)
    }

    fn add(&mut self, key: &str, value: &str) -> Result<(), KeyProblem> {
        match key {
            "eof" => {
                let eof = match value {
                    "leave" => Some(Eof::Leave),
                    "listen" => Some(Eof::Listen),
                    _ => None,
                };
                set(&mut self.eof, eof, "leave or listen")
            }
            "eol" => {
                let eol = match value {
                    "crlf" => Some(Eol::CrLf),
                    "lf" => Some(Eol::Lf),
                    _ => None,
                };
                set(&mut self.eol, eol, "crlf or lf")
            }
            "mode" => set(
                &mut self.mode,
                parse_mode(value),
                "an octal number up to 0777",
            ),
            "group" => set(&mut self.group, parse_group(value), "a name or a number"),
            _ => Err(KeyProblem::Unknown),
        }
    }

    /// Gives them to the listener that they were written behind, if they fit.
    pub(super) fn apply(self, to: &mut ListenAddr) -> Result<(), WrongKey> {
        let script = [("eof", self.eof.is_some()), ("eol", self.eol.is_some())];
        if let Some((key, _)) = script.into_iter().find(|&(_, is_given)| is_given) {
            if to.service != Some(Service::Chat(Profile::Plain)) {
                let only = KeyProblem::Only("plain listeners, such as plain:127.0.0.1:6143");
                return Err((key.to_owned(), only));
            }
            to.service = Some(Service::Script(Script {
                eof: self.eof.unwrap_or_default(),
                eol: self.eol.unwrap_or_default(),
            }));
        }
        let file = [
            ("mode", self.mode.is_some()),
            ("group", self.group.is_some()),
        ];
        if let Some((key, _)) = file.into_iter().find(|&(_, is_given)| is_given) {
            let only = "the path of a Unix socket, such as unix:/run/line-chat/chat.sock";
            match &mut to.place {
                Place::Unix(socket) if matches!(socket.name, UnixName::Path(_)) => {
                    (socket.mode, socket.group) = (self.mode, self.group);
                }
                _ => return Err((key.to_owned(), KeyProblem::Only(only))),
            }
        }
        Ok(())
    }
}

/// Sets the value of a key once; `allowed` says which values it has.
fn set<T>(slot: &mut Option<T>, value: Option<T>, allowed: &'static str) -> Result<(), KeyProblem> {
    if slot.is_some() {
        return Err(KeyProblem::Twice);
    }
    *slot = Some(value.ok_or(KeyProblem::Value(allowed))?);
    Ok(())
}
