//! A file or a folder that a test hands to a server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many were made: tests run side by side, and two of them may want the same name.
static MADE: AtomicUsize = AtomicUsize::new(0);

fn path_for(name: &str) -> PathBuf {
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let name = format!("line-chat-{}-{number}-{name}", std::process::id());
    std::env::temp_dir().join(name)
}

/// A file that is gone when it is dropped.
pub(crate) struct TempFile(PathBuf);

impl TempFile {
    /// A file that only its owner can read.
    pub(crate) fn new(name: &str, content: &str) -> Self {
        let file = Self(path_for(name));
        file.write(content);
        let owners = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&file.0, owners).expect("it is ours");
        file
    }

    pub(crate) fn write(&self, content: &str) {
        fs::write(&self.0, content).expect("a temporary file");
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // It is in the system's own place for what may be removed.
        let _ = fs::remove_file(&self.0);
    }
}

/// A folder that is gone when it is dropped, with what is in it.
pub(crate) struct TempFolder(PathBuf);

impl TempFolder {
    pub(crate) fn new(name: &str) -> Self {
        let folder = Self(path_for(name));
        fs::create_dir(&folder.0).expect("a temporary folder");
        folder
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }

    /// The path of a file in it.
    pub(crate) fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.path())
    }

    /// The names of what is in it, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("it is ours");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<String> = entries
            .map(|it| name(it).to_string_lossy().into())
            .collect();
        names.sort();
        names
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // It is in the system's own place for what may be removed.
        let _ = fs::remove_dir_all(&self.0);
    }
}
