"""AG-UI 1.0 over server-sent events, for its front ends: a codec over runs (docs/ag-ui.md)."""
