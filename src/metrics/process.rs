//! What the process takes of its machine, by the names that Prometheus' own clients use, and how many tasks it has.
//!
//! Promises: what the system does not tell is left out.

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use tokio::runtime::Handle;

use super::UNIQUE;
use super::scraped::{Families, describe};

/// Adds it to a registry. `runtimes` are all that have tasks.
pub fn register(registry: &Registry, runtimes: Vec<Handle>) {
    let mut process = Process { runtimes, descriptions: Vec::new() };
    process.descriptions = process.collect().iter().map(describe).collect();
    registry.register(Box::new(process)).expect(UNIQUE);
}

struct Process {
    runtimes: Vec<Handle>,
    descriptions: Vec<Desc>,
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::default();
        let tasks: usize = self.runtimes.iter().map(|runtime| runtime.metrics().num_alive_tasks()).sum();
        families.gauge("causeway_tasks", "Tasks of the server that have not ended.", tasks as f64);
        #[cfg(target_os = "linux")]
        add_of_system(&mut families);
        families.into_inner()
    }
}

#[cfg(target_os = "linux")]
fn add_of_system(families: &mut Families) {
    let Ok(process) = procfs::process::Process::myself() else { return };
    if let Ok(stat) = process.stat() {
        let resident = stat.rss * procfs::page_size();
        families.gauge("process_resident_memory_bytes", "Memory that is in RAM.", resident as f64);
        families.gauge("process_threads", "Threads.", stat.num_threads as f64);
    }
    if let Ok(open) = process.fd_count() {
        families.gauge("process_open_fds", "Open files and connections.", open as f64);
    }
}
