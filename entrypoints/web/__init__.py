"""The chat protocol over WebSocket and HTTP."""
