//! A Unix socket to listen on, as an operator writes it behind the word `unix`: a path, or `@name` for a
//! socket without a file. Keys say who may use the file.

use std::fmt;
use std::path::PathBuf;

/// A Unix socket to listen on (unix(7)).
///
/// ```
/// use line_chat::{Group, ListenAddr, Place, UnixName, UnixSocket};
///
/// let addr: ListenAddr = "unix:/run/line-chat/chat.sock,mode=0660,group=chat".parse()?;
/// let socket = UnixSocket {
///     name: UnixName::Path("/run/line-chat/chat.sock".into()),
///     mode: Some(0o660),
///     group: Some(Group::Name("chat".into())),
/// };
/// assert_eq!(addr.place, Place::Unix(socket));
/// # Ok::<(), line_chat::ListenAddrError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixSocket {
    /// By which name clients find it.
    pub name: UnixName,
    /// The permissions of its file, at most 0o777; whoever may write to the file can connect. `None`
    /// leaves them to the umask, or is 0o660 where there is a group.
    pub mode: Option<u32>,
    /// The group of its file. `None` is that of the process.
    pub group: Option<Group>,
}

/// The name of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnixName {
    /// The path of its file, at most 107 bytes long.
    Path(PathBuf),
    /// `@name`: a name that is no file. Every process in the same network namespace can connect.
    Abstract(String),
}

/// A group of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// By its number.
    Id(u32),
    /// By its name, to be looked up when the server is bound.
    Name(String),
}

/// The permissions of a file that its group can use.
const FOR_THE_GROUP: u32 = 0o660;

impl UnixName {
    /// Parses what stands behind the word; `None` if that is nothing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('@') {
            Some("") => None,
            Some(name) => Some(Self::Abstract(name.to_owned())),
            None if text.is_empty() => None,
            None => Some(Self::Path(text.into())),
        }
    }
}

impl UnixSocket {
    /// Returns the permissions that its file is to get, unless they are left to the umask.
    pub(crate) fn permissions(&self) -> Option<u32> {
        self.mode.or(self.group.as_ref().map(|_| FOR_THE_GROUP))
    }
}

impl From<UnixName> for UnixSocket {
    fn from(name: UnixName) -> Self {
        Self {
            name,
            mode: None,
            group: None,
        }
    }
}

/// Parses permissions: up to four octal digits, at most 0777.
pub(super) fn parse_mode(text: &str) -> Option<u32> {
    let is_octal = text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal);
    mode.filter(|&mode| mode <= 0o777)
}

/// Parses a number or a name. The greatest number stands for no group at all (chown(2)).
pub(super) fn parse_group(text: &str) -> Option<Group> {
    if text.is_empty() {
        None
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let id = text.parse().ok().filter(|&id| id < u32::MAX);
        id.map(Group::Id)
    } else {
        Some(Group::Name(text.to_owned()))
    }
}

impl fmt::Display for UnixSocket {
    /// Writes its name, and the keys that are set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)?;
        if let Some(mode) = self.mode {
            write!(f, ",mode={mode:04o}")?;
        }
        match &self.group {
            Some(group) => write!(f, ",group={group}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{name}"),
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}
