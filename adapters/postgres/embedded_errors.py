"""EmbeddedError → AlreadyServed. Each carries one line that a person can act on."""


class EmbeddedError(Exception):
    """The embedded server cannot do what was asked; the message is one line that says why, and what would help."""


class AlreadyServed(EmbeddedError):
    """Another process holds the data directory. Trying again helps only after it has ended."""

    def __init__(self, data_dir: object, pid: int | None, port: int | None) -> None:
        self.pid = pid
        self.port = port
        who = f"pid {pid}" if pid else "another process"
        where = f" on port {port}" if port else ""
        super().__init__(f"{data_dir} is already served by {who}{where}")
