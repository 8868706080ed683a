//! Numbers that the environment sets, for tests that make many runs, each from its seed.

/// The number in this variable, if it is set.
///
/// # Panics
/// It is no number.
pub(crate) fn from_env(name: &str) -> Option<u64> {
    let number = std::env::var(name).ok()?;
    let parsed = number.parse();
    assert!(parsed.is_ok(), "{name}={number} is no number");
    parsed.ok()
}
