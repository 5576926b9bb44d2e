"""The client's side of the chat protocol: its reducer, a connection, and a terminal client."""
