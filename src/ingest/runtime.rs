//! The threads of an ingest process. Each that looks into events keeps memory for the expressions that it has used:
//! there are as many as fit into the pod, on a node with however many cores, and they stay.

use std::{io, thread::available_parallelism, time::Duration};

use tokio::runtime::{Builder, Runtime};

use super::large_bodies::{LARGE_TURNS, MEDIUM_TURNS};

/// Most threads that serve connections; more events than these manage are for more replicas.
pub const WORKERS: usize = 2;

/// Threads for what takes long. Files and names of hosts are looked up between bodies.
pub const BLOCKING_THREADS: usize = MEDIUM_TURNS + LARGE_TURNS;

/// A thread that ends leaves what it kept to nobody, and the next one begins its own.
const KEEP_ALIVE: Duration = Duration::from_hours(365 * 24);

/// What [`super::run`] is to be run on.
pub fn runtime() -> io::Result<Runtime> {
    let workers = available_parallelism().map_or(1, |cores| cores.get().min(WORKERS));
    Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(KEEP_ALIVE)
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use super::*;

    #[test]
    fn threads_are_few_and_stay() {
        let runtime = runtime().unwrap();
        assert!(runtime.metrics().num_workers() <= WORKERS);
        let seen: HashSet<_> = (0..50)
            .map(|_| runtime.block_on(async { tokio::task::spawn_blocking(|| thread::current().id()).await.unwrap() }))
            .collect();
        assert!(seen.len() <= BLOCKING_THREADS, "{seen:?}");
    }
}
