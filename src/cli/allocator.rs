//! The allocator's one setting. glibc cuts small pieces of memory out of one heap, which shrinks only at its
//! end, and maps large ones on their own and gives them back as soon as they are freed. What is large grows
//! with what was freed (mallopt(3), "dynamic mmap threshold"), unless it was set before the process started.
//! Queues of very different sizes come and go here, and what a client that stays has allocated behind
//! them would keep all of them in the heap: of 170 MiB in 3 000 queues, 30 MiB stayed. So the process
//! starts itself once more, with the variable that sets the threshold to a page; then 4 MiB stay. Buffers
//! are pooled, so that a busy server maps none.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use signal_hook::consts::SIGPIPE;

/// The variable of glibc's allocator (mallopt(3)). Others ignore it.
const VARIABLE: &str = "MALLOC_MMAP_THRESHOLD_";

/// A page, in bytes. glibc begins with 128 KiB.
const THRESHOLD: &str = "4096";

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
