"""One run: schedule, optimizer, step, loop, metrics."""
