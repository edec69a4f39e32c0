//! Prometheus metrics. One recorder per process; names and help texts are listed here.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;

static PAGE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Renders `/metrics`.
#[derive(Clone)]
pub struct MetricsPage(Option<PrometheusHandle>);

impl MetricsPage {
    /// Installs the recorder on first use; later calls share it.
    #[must_use]
    pub fn install() -> Self {
        const SECONDS: [f64; 12] =
            [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let page = PAGE.get_or_init(|| {
            let handle = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
                .ok()?
                .install_recorder()
                .ok()?;
            describe();
            Some(handle)
        });
        Self(page.clone())
    }

    /// The page in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        metrics::counter!("docent_log_lines_dropped_total").absolute(super::logging::dropped());
        self.0.as_ref().map(PrometheusHandle::render).unwrap_or_default()
    }

    /// Folds what was recorded since; call it every few seconds to keep memory bounded.
    pub fn upkeep(&self) {
        if let Some(handle) = &self.0 {
            handle.run_upkeep();
        }
    }
}

/// Says what each metric means.
pub fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!("docent_http_requests_total", "Requests by method, route and status");
    describe_histogram!("docent_http_request_seconds", "Time to the response's head, by route");
    describe_counter!("docent_turns_total", "Turns by outcome: complete, stopped, failed, refused");
    describe_gauge!("docent_turns_running", "Turns running on this node");
    describe_histogram!("docent_turn_first_token_seconds", "From acceptance to the first token");
    describe_histogram!(
        "docent_turn_open_seconds",
        "Until a turn and what it may cost are durable"
    );
    describe_histogram!("docent_turn_seconds", "From acceptance to the end of a turn");
    describe_counter!("docent_model_attempts_total", "Models that were asked, by outcome");
    describe_gauge!("docent_model_breaker_state", "0 closed, 1 half-open, 2 open, on this node");
    describe_counter!("docent_model_breaker_opened_total", "How often a model was given a rest");
    describe_histogram!("docent_retrieval_seconds", "Search of passages for one question");
    describe_counter!(
        "docent_slow_readers_total",
        "Streams and sockets closed for reading too slowly"
    );
    describe_gauge!("docent_connections", "Open streams by transport: websocket, sse");
    describe_counter!("docent_tokens_total", "Metered tokens by meter and provenance");
    describe_counter!("docent_ingestions_total", "Documents by outcome: ready, failed, retried");
    describe_histogram!("docent_ingestion_seconds", "One ingestion, from claim to commit");
    describe_counter!("docent_recovered_turns_total", "Turns closed for nodes that died");
    describe_counter!("docent_exported_total", "Rows that a vendor has, by exporter");
    describe_gauge!("docent_export_lag_rows", "Rows that are not exported yet, by exporter");
    describe_gauge!("docent_export_parked", "Rows that a vendor refused, by exporter");
    describe_gauge!("docent_ledger_seal_lag_seconds", "Age of the oldest row of the last sealed");
    describe_gauge!("docent_ledger_differences", "What the last check of the books found wrong");
    describe_counter!("docent_ledger_verified_rows_total", "Rows of the ledger that were checked");
    describe_counter!("docent_quota_warnings_total", "Warnings of quotas by percent: 80, 100");
    describe_counter!(
        "docent_log_lines_dropped_total",
        "Log lines that standard error did not take"
    );
    describe_counter!("docent_task_panics_total", "Panics of background tasks, by task");
}
