"""Background work: today the archive. `python -m workers --config FILE --metrics-port PORT --slot N`."""
