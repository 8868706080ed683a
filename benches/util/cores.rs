//! A core for the server and one for the load, so that neither disturbs the other's caches nor
//! waits for its turn. With a single core there is nothing to choose, and nothing is pinned.

use std::sync::LazyLock;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The first two cores that this process may use, as it was started: `(load, server)`.
static CORES: LazyLock<Option<(usize, usize)>> = LazyLock::new(|| {
    let allowed = sched_getaffinity(None).ok()?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
    Some((cores.next()?, cores.next()?))
});

/// The core for servers.
pub(crate) fn server_core() -> Option<usize> {
    CORES.map(|(_, server)| server)
}

/// Pins the calling thread, and all threads and processes that it will start, to the load's core.
pub(crate) fn pin_to_load_core() {
    if let Some((load, _)) = *CORES {
        pin_to(load);
    }
}

/// Pins the calling thread to the servers' core.
pub(crate) fn pin_to_server_core() {
    if let Some(core) = server_core() {
        pin_to(core);
    }
}

/// Pins the calling thread.
pub(crate) fn pin_to(core: usize) {
    let mut only = CpuSet::new();
    only.set(core);
    // A machine that does not let us is measured as it is.
    let _ = sched_setaffinity(None, &only);
}

/// As many descriptors as this process and its children can have.
pub(crate) fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A process that may not have more finds out when they are used up.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// How many descriptors this process can have.
pub(crate) fn descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
}
