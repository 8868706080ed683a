//! The allocator's one setting. glibc gives a large piece of memory back to the system as soon as it is
//! freed, until the first one is freed: from then on it keeps pieces of that size in its heap
//! (mallopt(3), "dynamic mmap threshold"). Queues of very different sizes come and go here, and cut that
//! heap into pieces which are of no use for the next queue, so a limit of memory would be exceeded by a
//! quarter. The threshold stays where it is if it was set before the process started, so the process
//! starts itself once more, with the variable that sets it.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use signal_hook::consts::SIGPIPE;

/// The variable of glibc's allocator (mallopt(3)). Others ignore it.
const VARIABLE: &str = "MALLOC_MMAP_THRESHOLD_";

/// The value that glibc begins with, in bytes.
const THRESHOLD: &str = "131072";

/// Starts this process again with the threshold set, if it is not. Whatever stands in the way is no
/// reason not to serve: the limit of memory is exceeded by a little more then.
pub(crate) fn fix_threshold() {
    if !cfg!(target_env = "gnu") || env::var_os(VARIABLE).is_some() {
        return;
    }
    let Ok(program) = env::current_exe() else {
        return;
    };
    let mut args = env::args_os();
    let name = args.next().unwrap_or_else(|| program.clone().into());
    let mut command = Command::new(program);
    // Only returns if it fails, and then with the default action of SIGPIPE, which ends the process.
    let _ = command
        .arg0(name)
        .args(args)
        .env(VARIABLE, THRESHOLD)
        .exec();
    let _ = signal_hook::flag::register(SIGPIPE, Arc::default());
}
