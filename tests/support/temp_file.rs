//! A file or a folder that a test hands to a server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A file that is gone when it is dropped.
pub(crate) struct TempFile(PathBuf);

impl TempFile {
    /// A file that only its owner can read. No other test of the process uses its name at that time.
    pub(crate) fn new(name: &str, content: &str) -> Self {
        let name = format!("line-chat-{}-{name}", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
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
    /// No other test of the process uses its name at that time.
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("line-chat-{}-{name}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
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
