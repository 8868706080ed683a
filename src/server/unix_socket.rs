//! Listens on Unix sockets (unix(7)). A socket with a path is a file, which outlives the process that bound
//! it. So a file is bound under another name in the same folder, gets its group and permissions before
//! anybody can connect, and is then renamed to its path: there is always a socket, the old one or the new
//! one. It is removed at the end, if it is still the same file.
//!
//! A file that nobody listens on is left from a server that was killed, and is replaced. Whether somebody
//! listens is found out by connecting to it. Two servers that are started at the same instant may both find
//! that nobody does; then the path belongs to the second.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::unix_socket::{Group, UnixName, UnixSocket};
use crate::server::listen::BACKLOG;

/// The longest name that fits into an address, in bytes (unix(7), `sun_path`), without the NUL before an
/// abstract name or after a path.
const MAX_NAME_BYTES: usize = 107;

/// Listens on a Unix socket. Returns the file with it, if it has one.
///
/// # Errors
/// The text names the socket and says what to do.
pub(super) fn listen(asked: &UnixSocket) -> io::Result<(UnixListener, Option<SocketFile>)> {
    let listening = match &asked.name {
        UnixName::Path(path) => {
            listen_on_path(path, asked).map(|(socket, file)| (socket, Some(file)))
        }
        UnixName::Abstract(name) => listen_on_abstract(name).map(|socket| (socket, None)),
    };
    listening.map_err(|error| {
        let text = format!("cannot listen on {}: {}", asked.name, advice(&error));
        io::Error::new(error.kind(), text)
    })
}

/// Returns the name of a listener that was handed in, or `None` if it was never bound to one.
pub(super) fn name_of(listener: &UnixListener) -> Option<UnixName> {
    use std::os::linux::net::SocketAddrExt;
    let addr = listener.local_addr().ok()?;
    let of_path = addr.as_pathname().map(|path| UnixName::Path(path.into()));
    of_path.or_else(|| {
        let name = addr.as_abstract_name()?;
        Some(UnixName::Abstract(
            String::from_utf8_lossy(name).into_owned(),
        ))
    })
}

fn listen_on_abstract(name: &str) -> io::Result<UnixListener> {
    check_length("the name", name.len())?;
    let socket = new_socket()?;
    match socket.bind(&SockAddr::unix(format!("\0{name}"))?) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::ADDRINUSE) => {
            return Err(already_running());
        }
        result => result?,
    }
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn listen_on_path(path: &Path, asked: &UnixSocket) -> io::Result<(UnixListener, SocketFile)> {
    check_length("the path", path.as_os_str().len())?;
    let group = asked.group.as_ref().map(number_of).transpose()?;
    check_replaceable(path)?;
    let first_path = path_beside(path)?;
    // Nobody else uses that name: a file there is left from a process that had our number and was killed.
    let _ = fs::remove_file(&first_path);
    let socket = new_socket()?;
    socket.bind(&SockAddr::unix(&first_path)?)?;
    let mut file = SocketFile::at(&first_path)?;
    set_access(&first_path, asked.permissions(), group)?;
    socket.listen(BACKLOG)?;
    file.rename(path)?;
    Ok((socket.into(), file))
}

/// Says who may use a file. Not before the socket is bound: bind(2) takes away what the umask does.
fn set_access(path: &Path, mode: Option<u32>, group: Option<u32>) -> io::Result<()> {
    if group.is_some() {
        lchown(path, None, group).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::PERM) => {
                let text = "this user cannot give it that group; choose one that it is in";
                other(text.to_owned())
            }
            _ => error,
        })?;
    }
    match mode {
        Some(mode) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
        None => Ok(()),
    }
}

fn new_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn check_length(what: &str, bytes: usize) -> io::Result<()> {
    if bytes <= MAX_NAME_BYTES {
        return Ok(());
    }
    Err(other(format!(
        "{what} has {bytes} bytes, and that of a socket has at most {MAX_NAME_BYTES}; \
         choose a shorter one"
    )))
}

/// Checks that there is nothing at this path, or a socket that nobody listens on.
fn check_replaceable(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            let text = "there is something else than a socket; remove it or choose another path";
            return Err(other(text.to_owned()));
        }
        Ok(_) => {}
    }
    let Err(error) = new_socket()?.connect(&SockAddr::unix(path)?) else {
        return Err(already_running());
    };
    match Errno::from_io_error(&error) {
        Some(Errno::CONNREFUSED | Errno::NOENT) => Ok(()),
        // Its queue is full, or it is not a socket of streams.
        Some(Errno::AGAIN | Errno::PROTOTYPE) => Err(already_running()),
        _ => Err(error),
    }
}

/// Returns another path in the same folder, of which no other process thinks.
fn path_beside(path: &Path) -> io::Result<PathBuf> {
    let suffix = format!(".{}", std::process::id());
    let mut longer = path.as_os_str().to_owned();
    longer.push(&suffix);
    let candidates = [PathBuf::from(longer), path.with_file_name(&suffix)];
    let mut fitting = candidates.into_iter();
    let fitting = fitting.find(|path| path.as_os_str().len() <= MAX_NAME_BYTES);
    fitting.ok_or_else(|| {
        let text = "its folder has too long a path; choose another folder";
        other(text.to_owned())
    })
}

/// Returns the number of a group.
fn number_of(group: &Group) -> io::Result<u32> {
    match group {
        Group::Id(id) => Ok(*id),
        Group::Name(name) => match nix::unistd::Group::from_name(name) {
            Ok(Some(group)) => Ok(group.gid.as_raw()),
            Ok(None) => Err(other(format!(
                "there is no group {name}; getent group lists them"
            ))),
            Err(error) => Err(other(format!("cannot look up the group {name}: {error}"))),
        },
    }
}

fn already_running() -> io::Error {
    let text = "already running; stop the server that has it or choose another name";
    io::Error::new(io::ErrorKind::AddrInUse, text)
}

fn other(text: String) -> io::Error {
    io::Error::other(text)
}

/// Says of an error what to do. What is not the system's says it already.
fn advice(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        None => error.to_string(),
        Some(Errno::NOENT) => "there is no such folder; create it or choose another path".into(),
        Some(Errno::ACCESS | Errno::PERM) => {
            "permission denied; choose a folder in which this user can create files".into()
        }
        Some(_) => format!("{error}; choose another path"),
    }
}

/// The file of a socket, removed when this is dropped if it is still the same.
#[derive(Debug)]
pub(super) struct SocketFile {
    /// Absolute, because the working directory may change.
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: std::path::absolute(path)?,
            id: id(&fs::symlink_metadata(path)?),
        })
    }

    /// Renames it, over a file that has that path.
    fn rename(&mut self, to: &Path) -> io::Result<()> {
        let to = std::path::absolute(to)?;
        fs::rename(&self.path, &to)?;
        self.path = to;
        Ok(())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let there = fs::symlink_metadata(&self.path);
        if there.is_ok_and(|there| id(&there) == self.id) {
            // A file that stays is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What distinguishes a file from every other: its device and its inode.
fn id(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
