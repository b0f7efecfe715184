//! The metrics `process_*` of this process.

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, MetricFamily};

use super::clock;

const CPU_SECONDS: &str = "process_cpu_seconds_total";

/// The standard family. The crate's own collector counts CPU time in whole seconds, so this one sets it.
#[derive(Debug)]
pub struct ProcessMetrics(ProcessCollector);

impl ProcessMetrics {
    /// The metrics of the calling process.
    #[must_use]
    pub fn for_self() -> Self {
        Self(ProcessCollector::for_self())
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        for family in families.iter_mut().filter(|family| family.name() == CPU_SECONDS) {
            let mut cpu = Counter::default();
            cpu.set_value(clock::process_cpu_time().as_secs_f64());
            family.mut_metric().iter_mut().for_each(|metric| metric.set_counter(cpu.clone()));
        }
        families
    }
}
