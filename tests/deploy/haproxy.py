"""HAProxy, asked what it thinks of the configuration."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"
ADDRESSES = {"LISTEN": "127.0.0.1:8080"} | {f"REPLICA_{number}": f"127.0.0.1:{8000 + number}" for number in (1, 2, 3)}


def check(environment: Mapping[str, str]) -> tuple[int, str]:
    """Its exit code, and its complaints."""
    program = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program, "the proxy's configuration is checked by HAProxy (Debian: apt-get install haproxy)"
    told = subprocess.run(
        [program, "-c", "-f", CONFIGURATION],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], **environment},
    )
    return told.returncode, told.stdout + told.stderr
