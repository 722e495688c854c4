//! What a listener counts: its open connections, those it refused, and those that did not come to TLS.

use prometheus::{
    IntCounter, IntGauge, Registry, opts, register_int_counter_with_registry, register_int_gauge_with_registry,
};

/// What one listener counts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    open: IntGauge,
    refused: IntCounter,
    no_tls: IntCounter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::register(&Registry::new(), "clients")
    }
}

impl Metrics {
    /// Counts in a registry, under the name of who connects there.
    pub fn register(registry: &Registry, listener: &str) -> Self {
        const UNIQUE: &str = "these are valid, and each listener of a registry has a name of its own";
        let open =
            opts!("causeway_connections", "Open connections, by who they are for.").const_label("listener", listener);
        let refused = opts!(
            "causeway_connections_refused_total",
            "Connections refused because there were as many as there may be, by who they are for."
        );
        let refused = refused.const_label("listener", listener);
        let no_tls = opts!(
            "causeway_tls_failures_total",
            "Connections that did not come to TLS where it is spoken, by who they are for."
        );
        let no_tls = no_tls.const_label("listener", listener);
        Self {
            open: register_int_gauge_with_registry!(open, registry).expect(UNIQUE),
            refused: register_int_counter_with_registry!(refused, registry).expect(UNIQUE),
            no_tls: register_int_counter_with_registry!(no_tls, registry).expect(UNIQUE),
        }
    }

    /// How many connections were refused.
    pub fn refused_connections(&self) -> u64 {
        self.refused.get()
    }

    pub(super) fn open(&self, connections: usize) {
        self.open.set(connections as i64);
    }

    pub(super) fn no_tls(&self) {
        self.no_tls.inc();
    }

    pub(super) fn refused(&self) {
        self.refused.inc();
    }
}
