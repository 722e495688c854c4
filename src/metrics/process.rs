//! What the process takes of its machine, by the names that Prometheus' own clients use.
//!
//! Promises: what the system does not tell is left out.

use super::scraped::Families;

pub(super) fn add_to(families: &mut Families) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let tasks = runtime.metrics().num_alive_tasks() as f64;
        families.gauge("causeway_tasks", "Tasks of the server that have not ended.", tasks);
    }
    #[cfg(target_os = "linux")]
    if let Ok(process) = procfs::process::Process::myself() {
        if let Ok(stat) = process.stat() {
            let resident = stat.rss * procfs::page_size();
            families.gauge("process_resident_memory_bytes", "Memory that is in RAM.", resident as f64);
            families.gauge("process_threads", "Threads.", stat.num_threads as f64);
        }
        if let Ok(open) = process.fd_count() {
            families.gauge("process_open_fds", "Open files and connections.", open as f64);
        }
    }
}
