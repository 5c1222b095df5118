"""Who is it among many: galleries and probes, open and closed sets, everyone against everyone."""
