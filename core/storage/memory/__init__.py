"""In-memory twins of the ports, for tests; they pass the same contract tests as the real adapters."""
