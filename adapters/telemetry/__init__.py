"""Traces, metrics and logs around the ports, so that the core holds no span."""
