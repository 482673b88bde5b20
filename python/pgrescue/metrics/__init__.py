"""What of the records is measured by Prometheus: docs/metrics.md."""
