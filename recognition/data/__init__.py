"""The path of the samples: record file, source, order, loader, and what happens to pictures on the device."""
