"""What survives a restart, in one SQLite file of the home directory: `mihomo-tproxy.db`.

Selections of groups, the last delays, and of each download what its server said about it. Every
function opens the file, does one transaction and closes it again: short-lived processes use them as
the keeper does, several at a time. They wait for the disk, so an event loop calls them in a thread.

Invariants: a transaction is there after a crash or power cut, or it is not (rollback journal,
synchronous EXTRA: sqlite.org/atomiccommit.html); a file that is no database any more is put aside
as `.corrupt`, together with its journal, which would be played back into the new one. sqlite3 is
imported where it is used: it is megabytes, and the supervisor imports this module.
"""

from __future__ import annotations

import fcntl
import logging
import os
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

log = logging.getLogger("store")

FILE: Final = "mihomo-tproxy.db"
BUSY_S: Final = 5.0
"""How long a transaction waits for another process's."""
_VERSION: Final = 1
_TABLES: Final = (
    "CREATE TABLE selection (name TEXT PRIMARY KEY, member TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE delay (proxy TEXT, url TEXT, at REAL NOT NULL, delay INTEGER NOT NULL,"
    " status INTEGER NOT NULL, PRIMARY KEY (proxy, url)) WITHOUT ROWID",
    "CREATE TABLE source (name TEXT PRIMARY KEY, url TEXT NOT NULL, etag TEXT NOT NULL,"
    " modified TEXT NOT NULL, digest TEXT NOT NULL, userinfo TEXT NOT NULL) WITHOUT ROWID",
)


class StoredDelay(NamedTuple):
    """The last test of a proxy with a URL."""

    proxy: str
    url: str
    at: float
    """Unix time."""
    delay_ms: int
    """0: it did not answer."""
    status: int
    """Of the answer; 0 without one."""


class SourceState(NamedTuple):
    """What is known about the file of a download."""

    url: str = ""
    etag: str = ""
    modified: str = ""
    """Last-Modified, as the server wrote it."""
    digest: str = ""
    """SHA-256 of the file that this is about, in hex."""
    userinfo: str = ""
    """The header subscription-userinfo, as it came."""


def load_selections(home: str) -> dict[str, str]:
    """Group -> the member that was selected, or fixed; empty if nothing is stored.

    Raises:
        OSError: the file is there and cannot be read.
    """
    return dict(_read(home, "SELECT name, member FROM selection"))


def save_selection(home: str, group: str, member: str) -> None:
    """Remember a choice; "" forgets it.

    Raises:
        OSError: it could not be written.
    """

    def work(connection: sqlite3.Connection) -> None:
        if member:
            connection.execute("REPLACE INTO selection VALUES (?, ?)", (group, member))
        else:
            connection.execute("DELETE FROM selection WHERE name = ?", (group,))

    _transact(home, work)


def load_delays(home: str) -> list[StoredDelay]:
    """The last test of each proxy and URL.

    Raises:
        OSError: the file is there and cannot be read.
    """
    rows = _read(home, "SELECT proxy, url, at, delay, status FROM delay")
    return [StoredDelay(*row) for row in rows]


def save_delays(home: str, delays: Iterable[StoredDelay]) -> None:
    """Put these in the place of all that were stored.

    Raises:
        OSError: they could not be written.
    """
    rows = list(delays)

    def work(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM delay")
        connection.executemany("REPLACE INTO delay VALUES (?, ?, ?, ?, ?)", rows)

    _transact(home, work)


def load_sources(home: str) -> dict[str, SourceState]:
    """What is known about each download, by its name.

    Raises:
        OSError: the file is there and cannot be read.
    """
    rows = _read(home, "SELECT name, url, etag, modified, digest, userinfo FROM source")
    return {row[0]: SourceState(*row[1:]) for row in rows}


def save_source(home: str, name: str, state: SourceState) -> None:
    """Remember what is known about a download.

    Raises:
        OSError: it could not be written.
    """
    _transact(
        home,
        lambda connection: connection.execute(
            "REPLACE INTO source VALUES (?, ?, ?, ?, ?, ?)", (name, *state)
        ),
    )


def _read(home: str, query: str) -> list[Any]:
    if not os.path.exists(os.path.join(home, FILE)):
        return []
    return _transact(home, lambda connection: connection.execute(query).fetchall())


def _transact(home: str, work: Callable[[sqlite3.Connection], T]) -> T:
    """Do `work` in one transaction; with a new file if the old one is broken."""
    import sqlite3

    path = os.path.join(home, FILE)
    identity = _identity(path)
    try:
        try:
            return _attempt(path, work)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            _put_aside(path, identity, str(error))
            return _attempt(path, work)
    except sqlite3.Error as error:
        raise OSError(f"{path}: {error}") from error


def _attempt(path: str, work: Callable[[sqlite3.Connection], T]) -> T:
    import sqlite3

    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(path, BUSY_S, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute("PRAGMA cache_size = -256")
        with _transaction(connection):
            _create(connection)
            return work(connection)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _create(connection: sqlite3.Connection) -> None:
    import sqlite3

    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == _VERSION:
        return
    if version:
        raise sqlite3.OperationalError(f"written by a newer version ({version})")
    for table in _TABLES:
        connection.execute(table)
    connection.execute(f"PRAGMA user_version = {_VERSION}")


def _identity(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _put_aside(path: str, identity: int, reason: str) -> None:
    """Rename the broken file, unless another process just did."""
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        if _identity(path) != identity:
            return
        log.error("%s is broken (%s): put aside as .corrupt, starting anew", path, reason)
        for suffix in ("-journal", ""):
            if os.path.exists(path + suffix):
                os.replace(path + suffix, f"{path}.corrupt{suffix}")
    finally:
        os.close(directory)
