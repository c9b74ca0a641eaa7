"""The form of events outside of the log: CloudEvents 1.0 in headers and body, or as JSON."""
