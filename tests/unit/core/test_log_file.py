"""The landed file: what it survives, and what it refuses."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_core.errors import LogFileError, LogFileLockedError
from iris_core.event_record import Life
from iris_core.log_cursor import Tail
from iris_core.log_events import LogEventKind
from iris_core.log_file import LandedFile
from iris_core.log_paths import events_path

if TYPE_CHECKING:
    from collections.abc import Iterator

IS_ROOT = os.geteuid() == 0


def line(number: int, payload: bytes = b"payload\n") -> bytes:
    tag = b"F" if payload.endswith(b"\n") else b"P"
    end = b"" if payload.endswith(b"\n") else b"\n"
    return b"2026-01-01T00:00:00.%09dZ stdout %s %s%s" % (number, tag, payload, end)


LINES = [line(1), line(2, b""), line(3, b"\0\xff\r\n"), line(4, b"2026-01-01T00:00:00Z stdout F quoted\n")]


def begin(file: LandedFile, container_id: str = "a", started_at: str = "t") -> None:
    file.begin_life(
        {"at": "now", "event": "started"}, container_id=container_id, started_at=started_at, instance_id="i"
    )


def leave(path: Path, data: bytes) -> None:
    """What a killed iris left: a life on record, and these bytes."""
    file = LandedFile(path)
    begin(file)
    file.close()
    path.write_bytes(data)


@contextmanager
def opened(path: Path) -> Iterator[LandedFile]:
    file = LandedFile(path)
    try:
        yield file
    finally:
        file.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


class TestContinuing:
    def test_every_torn_tail_is_cut_to_the_last_whole_line(self, path: Path) -> None:
        """Whatever part of a write got to the disk: what is whole stays, the rest goes, and the next line lands after it."""
        whole = b"".join(LINES)
        ends = [sum(map(len, LINES[:count])) for count in range(len(LINES) + 1)]
        leave(path, b"")
        for cut in range(len(whole) + 1):
            path.write_bytes(whole[:cut])
            with opened(path) as file:
                kept = max(end for end in ends if end <= cut)
                assert file.size == kept
                file.append(line(9))
                assert path.read_bytes() == whole[:kept] + line(9)

    @given(st.lists(st.binary(max_size=30), min_size=1, max_size=5), st.integers(0, 500), st.integers(0, 200))
    def test_zeros_of_a_power_cut_are_cut_too(self, payloads: list[bytes], cut: int, zeros: int) -> None:
        """A file that grew without its data reaching the disk ends in zeros, after a line or in the middle of one."""
        lines = [line(number, payload.replace(b"\n", b".") + b"\n") for number, payload in enumerate(payloads)]
        whole = b"".join(lines)
        cut %= len(whole) + 1
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "log.txt"
            leave(path, whole[:cut] + b"\0" * zeros)
            with opened(path):
                assert path.read_bytes() == whole[: whole.rfind(b"\n", 0, cut) + 1]

    @pytest.mark.parametrize("torn", [b"", b"2026-01", line(3)[:-1]])
    def test_more_zeros_than_one_would_read_at_once(self, path: Path, torn: bytes) -> None:
        """Forty megabytes of zeros (a hole in the file here) end where the last line ends all the same."""
        leave(path, line(1) + line(2) + torn)
        os.truncate(path, 40 * 1024 * 1024)
        with opened(path) as file:
            assert path.read_bytes() == line(1) + line(2)
            assert file.size == path.stat().st_size

    def test_a_cut_log_is_not_complete(self, path: Path) -> None:
        """Where the record says that all has landed and the file lost its end, the log is read again."""
        with opened(path) as file:
            begin(file)
            file.append(line(1) + line(2))
            file.note({"event": LogEventKind.EXITED.value})
        with opened(path) as file:
            assert file.life == Life("a", 0, "t", "i", complete=True)
        os.truncate(path, len(line(1)) + 3)
        with opened(path) as file:
            assert file.life == Life("a", 0, "t", "i", complete=False)


class TestRefusing:
    FOREIGN = (
        b"12",
        b"hello",
        b"hello\n",
        b"2026-11-23",
        b"\0\0\0binary",
        b"2026-01-01T00:00:00Z my own notes\n",
        b"2026-01-01T00:00:00Z stdout F torn or not, nobody began it",
        line(1) + line(2),  # kubelet's, say
        line(1) + line(2)[:-5],
    )

    @pytest.mark.parametrize("content", FOREIGN)
    def test_a_file_that_nobody_began_is_left_alone(self, path: Path, content: bytes) -> None:
        """Without a record of whose lines they are, not a byte is changed, whatever they look like."""
        path.write_bytes(content)
        with pytest.raises(LogFileError, match=r"log\.txt.*(Move|another directory)"):
            LandedFile(path)
        assert path.read_bytes() == content
        assert not events_path(path).exists()

    @pytest.mark.parametrize(
        "content", [b"hello\n", line(1) + b"a note of mine\n", line(1) + b"a note", line(1) + b"2026, a note\n"]
    )
    def test_what_somebody_wrote_into_a_landed_file_is_not_cut(self, path: Path, content: bytes) -> None:
        """A torn line is cut off; text of another hand is not, and iris says so."""
        leave(path, content)
        with pytest.raises(LogFileError, match="did not land"):
            LandedFile(path)
        assert path.read_bytes() == content

    def test_a_link_is_not_followed(self, path: Path) -> None:
        """A link planted in the log directory must not make iris write elsewhere: neither lines nor events."""
        target = path.with_name("precious")
        target.write_bytes(b"")
        path.symlink_to(target)
        with pytest.raises(LogFileError, match="symbolic link"):
            LandedFile(path)
        path.unlink()
        events_path(path).symlink_to(target)
        with pytest.raises(LogFileError, match="symbolic link"):
            LandedFile(path)
        assert target.read_bytes() == b""

    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
    def test_what_is_no_file_is_refused(self, path: Path, make: object) -> None:
        """A pipe would block for ever, a directory cannot be written."""
        assert callable(make)
        make(path)
        with pytest.raises(LogFileError, match=r"log\.txt"):
            LandedFile(path)

    def test_another_process_has_it(self, path: Path) -> None:
        """Two writers of one file would double lines; when the other one is killed, the file is free."""
        hold = "import fcntl,sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", hold, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            with pytest.raises(LogFileLockedError, match="Another process") as refused:
                LandedFile(path)
            assert refused.value.path == path
            other.kill()
        LandedFile(path).close()

    def test_one_process_has_it_once(self, path: Path) -> None:
        """The lock holds within a process too, until the file is closed (which may be done twice)."""
        first = LandedFile(path)
        with pytest.raises(LogFileLockedError):
            LandedFile(path)
        first.close()
        first.close()
        LandedFile(path).close()

    def test_a_refused_file_is_let_go(self, path: Path) -> None:
        """No descriptor and no lock is left behind."""
        before = len(list(Path("/proc/self/fd").iterdir()))
        path.write_bytes(b"hello\n")
        for _ in range(3):
            with pytest.raises(LogFileError):
                LandedFile(path)
        assert len(list(Path("/proc/self/fd").iterdir())) == before


class TestPermissions:
    @pytest.mark.parametrize("umask", [0, 0o022, 0o077])
    def test_all_that_is_made_is_private(self, tmp_path: Path, umask: int) -> None:
        """Logs hold secrets: 0600 for files, 0700 for every directory that was missing, whatever the umask."""
        before = os.umask(umask)
        try:
            with opened(tmp_path / "a" / "b" / "c" / "log.txt") as file:
                begin(file)
        finally:
            os.umask(before)
        modes = {made.name: oct(made.stat().st_mode & 0o777) for made in (tmp_path / "a", *tmp_path.glob("a/**/*"))}
        assert modes == {"a": "0o700", "b": "0o700", "c": "0o700", "log.txt": "0o600", "log.events.jsonl": "0o600"}

    def test_a_directory_that_cannot_be_made_is_told(self, tmp_path: Path) -> None:
        """The error names the file and the reason."""
        (tmp_path / "file").write_text("")
        with pytest.raises(LogFileError, match=r"log\.txt: (Not a directory|File exists)"):
            LandedFile(tmp_path / "file" / "log.txt")


@contextmanager
def tmpfs(directory: Path, options: str) -> Iterator[None]:
    if not IS_ROOT:
        pytest.skip("only root may mount")
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory], check=False, capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"this root may not mount: {mount.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as other, suppress(OSError):
        while True:
            other.write(b"x" * 4096)


def note_for_ever(file: LandedFile) -> None:
    while True:
        file.note({"event": "x"})


class TestDisk:
    def test_a_read_only_directory_is_told(self, tmp_path: Path) -> None:
        """Nothing is written, and the error says why."""
        with tmpfs(tmp_path, "ro"), pytest.raises(LogFileError, match="Read-only"):
            LandedFile(tmp_path / "log.txt")

    def test_a_full_disk_leaves_the_file_as_it_was(self, tmp_path: Path) -> None:
        """What does not fit is taken back to the last byte; with room again, the same lines land."""
        path = tmp_path / "log.txt"
        many = b"".join(map(line, range(10_000)))
        with tmpfs(tmp_path, "size=64k"), opened(path) as file:
            begin(file)
            file.append(line(1))
            with pytest.raises(LogFileError, match="No space left"):
                file.append(many)
            assert path.read_bytes() == line(1)
            filler = tmp_path / "filler"
            fill(filler)
            with pytest.raises(LogFileError, match="No space left"):
                note_for_ever(file)
            events = events_path(path).read_bytes()
            assert events.endswith(b"}\n")
            assert file.size == len(line(1))
            filler.unlink()
            file.append(many[: 20 * len(line(0))])
            assert path.read_bytes() == line(1) + many[: 20 * len(line(0))]

    def test_a_part_that_cannot_be_taken_back_is_cut_before_the_next_line(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file system that fails in the middle may refuse to cut as well; nothing lands behind half a line."""

        def fails(_fd: int, _size: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with opened(path) as file:
            begin(file)
            file.append(line(1))
            with monkeypatch.context() as patch, limited(file.size + 10):
                patch.setattr(os, "ftruncate", fails)
                for _ in range(2):
                    with pytest.raises(LogFileError, match="Cannot write"):
                        file.append(line(2))
                assert path.read_bytes() == line(1) + line(2)[:10]
                assert file.tail().lines == (line(1),)
            file.append(line(2))
            assert path.read_bytes() == line(1) + line(2)


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file of this process grows past so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestLives:
    def test_a_restart_keeps_the_life_and_another_container_begins_one(self, path: Path) -> None:
        """The tail is that of the present container only, also after the file was opened again."""
        with opened(path) as file:
            begin(file, "a", "t1")
            file.append(line(1))
            begin(file, "a", "t2")
            assert file.life == Life("a", 0, "t2", "i")
            file.append(line(2))
            assert file.tail().lines == (line(1), line(2))
            begin(file, "b", "t3")
            assert file.tail().lines == ()
            assert file.tail().whole
            file.append(line(3))
        with opened(path) as file:
            assert file.life == Life("b", len(line(1) + line(2)), "t3", "i")
            assert file.tail().lines == (line(3),)
            assert file.tail().whole

    def test_a_container_that_comes_back_goes_on_after_its_own_lines(self, path: Path) -> None:
        """Another one had its name for a while: the tail is what landed of itself, before and since, also for who finds the file later."""
        many = [line(number) for number in range(2000)]
        with opened(path) as file:
            begin(file, "a")
            file.append(b"".join(many))
            begin(file, "b")
            file.append(line(1))
            begin(file, "c")  # lands nothing
            begin(file, "a")
            assert file.tail().lines == tuple(many[-len(file.tail().lines) :])
            assert file.tail().landed_bytes == len(b"".join(many))
        with opened(path) as file:
            assert not file.tail().whole
            assert file.tail().lines[-1] == many[-1]
            file.append(line(5000))
            assert file.tail().lines[-3:] == (*many[-2:], line(5000))
            begin(file, "b")
            assert file.tail() == Tail((line(1),), whole=True, landed_bytes=len(line(1)))
            begin(file, "a", "started again")
            assert file.tail().lines[-3:] == (*many[-2:], line(5000))
        with opened(path) as file:
            assert file.life == Life(
                "a",
                file.size,
                "started again",
                "i",
                earlier=((0, 2000 * len(line(0))), (2001 * len(line(0)), 2002 * len(line(0)))),
            )

    def test_of_a_container_that_comes_back_only_what_landed_since_its_last_gap_counts(self, path: Path) -> None:
        """A gap parts what it parted before, and another container's parts nothing of this one."""
        with opened(path) as file:
            begin(file, "a")
            file.append(line(1))
            file.note({"event": "gap"})
            file.append(line(2))
            begin(file, "b")
            file.append(line(3))
            file.note({"event": "gap"})
            begin(file, "a")
            file.append(line(4))
            assert file.tail().lines == (line(2), line(4))
        with opened(path) as file:
            assert file.tail().lines == (line(2), line(4))
            file.note({"event": "gap"})
            file.append(line(5))
            assert file.tail().lines == (line(5),)
        with opened(path) as file:
            assert file.tail().lines == (line(5),)

    def test_one_that_came_back_before_that_was_on_record_goes_on_after_what_landed_last(self, path: Path) -> None:
        """An earlier iris landed it anew: its first lines stand twice already, and only the last ones are its end."""
        with opened(path) as file:
            begin(file, "a")
            file.append(line(1))
            begin(file, "b")
            file.append(line(2))
            at = file.size
            file.note({"event": "re-created", "container": "a", "from": at, "started_at": "t", "instance": "i"})
        with opened(path) as file:
            file.append(line(3))
            begin(file, "b")
            begin(file, "a")
            assert file.tail().lines == (line(3),)

    @pytest.mark.parametrize("then", ["event", "life"])
    def test_a_record_that_is_deleted_meanwhile_is_begun_with_whose_the_lines_are(self, path: Path, then: str) -> None:
        """Somebody tidies up: the next event makes the file anew, and the next iris finds in it what it needs."""
        with opened(path) as file:
            begin(file, "a")
            file.append(line(1))
            begin(file, "b")
            for number in range(2, 5):
                file.append(line(number))
                file.note({"event": "gap"})
            file.append(line(5))
            events_path(path).unlink()
            if then == "event":
                file.note({"at": "now", "event": "disconnected"})
                file.note({"event": "connected"})
            else:
                begin(file, "c")
                begin(file, "b")
        with opened(path) as file:
            assert file.tail() == Tail((line(5),), whole=True, landed_bytes=len(line(5)))
        records = [json.loads(text) for text in events_path(path).read_text().splitlines()]
        assert [record["event"] for record in records[:3]] == ["started", "gap", "gap"]
        assert (records[0]["container"], records[0]["from"], records[0]["offset"]) == ("b", len(line(1)), len(line(1)))

    def test_where_a_container_begins_is_recorded_anew_after_a_power_cut_took_lines_before_it(self, path: Path) -> None:
        """The file grows again from its new end, which is where the present container's lines begin now."""
        with opened(path) as file:
            begin(file, "a")
            file.append(line(1) + line(2))
            begin(file, "b")
            file.append(line(3))
        os.truncate(path, len(line(1)) + 5)
        with opened(path) as file:
            assert file.life == Life("b", len(line(1)), "t", "i")
            file.note({"at": "now", "event": "connected"})
            file.append(line(4) + line(5))
        for _ in range(2):
            with opened(path) as file:
                assert file.tail().lines == (line(4), line(5))
                file.note({"at": "now", "event": "connected"})
        text = events_path(path).read_text()
        assert text.count("recorded anew") == 1

    def test_another_container_is_on_record_on_the_disk_before_its_first_line(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A power cut must not take the record and spare the lines. Nothing is waited for where there is nothing to confuse them with."""
        synced: list[bytes] = []

        def fsync(fd: int) -> None:
            synced.append(Path(f"/proc/self/fd/{fd}").read_bytes())

        monkeypatch.setattr(os, "fsync", fsync)
        with opened(path) as file:
            begin(file, "a")
            file.append(line(1))
            begin(file, "a", "started again")
            assert synced == []
            begin(file, "b")
            assert synced == [events_path(path).read_bytes()]

    @pytest.mark.parametrize(("error", "told"), [(errno.EIO, True), (errno.EINVAL, False)])
    def test_a_record_that_does_not_get_to_the_disk_begins_no_container(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, error: int, *, told: bool
    ) -> None:
        """It is to be tried again; but where the file system knows no such thing, it goes on without."""

        def fsync(_fd: int) -> None:
            raise OSError(error, os.strerror(error))

        with opened(path) as file:
            begin(file, "a")
            file.append(line(1))
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", fsync)
                if told:
                    with pytest.raises(LogFileError, match="Cannot write"):
                        begin(file, "b")
                    assert file.tail().lines == (line(1),)
                else:
                    begin(file, "b")
            begin(file, "b")
            assert file.life == Life("b", len(line(1)), "t", "i")

    def test_every_event_says_where_in_the_file_it_happened(self, path: Path) -> None:
        """`offset` is the size of the landed file then."""
        with opened(path) as file:
            begin(file)
            file.append(line(1))
            file.note({"event": "gap"})
        records = [json.loads(text) for text in events_path(path).read_text().splitlines()]
        assert [(record["event"], record["offset"]) for record in records] == [("started", 0), ("gap", len(line(1)))]
        assert (records[0]["container"], records[0]["from"]) == ("a", 0)

    def test_a_torn_event_spoils_neither_the_life_before_nor_the_next(self, path: Path) -> None:
        """Whatever part of the last event was written: the last whole life counts, and what is noted next is a line of its own."""
        leave(path, line(1))
        events = events_path(path)
        first = events.read_bytes()
        with opened(path) as file:
            begin(file, "b")
        both = events.read_bytes()
        for cut in range(len(first), len(both) + 1):
            for zeros in (b"", b"\0" * 5):
                if zeros and cut == len(both):
                    continue
                events.write_bytes(both[:cut] + zeros)
                with opened(path) as file:
                    assert file.life is not None
                    assert file.life.container_id == ("b" if cut == len(both) else "a")
                    file.note({"event": "connected"})
                    begin(file, "c")
                with opened(path) as file:
                    assert file.life is not None
                    assert file.life.container_id == "c"
                assert [json.loads(text)["event"] for text in events.read_text().splitlines()][-2:] == [
                    "connected",
                    "started",
                ]

    def test_other_records_and_rubbish_are_no_lives(self, path: Path) -> None:
        """Only a whole record of a life counts, however much was noted since."""
        with opened(path) as file:
            begin(file)
            for number in range(3000):
                file.note({"event": "unverified-tail", "container": "z", "number": number})
        with events_path(path).open("ab") as events:
            events.write(b'\xff\xfe\n[]\n3\n{"container": 3, "from": "x"}\n\n')
        with opened(path) as file:
            assert file.life == Life("a", 0, "t", "i")

    def test_lines_whose_record_was_lost_are_told(self, path: Path) -> None:
        """Without the record, nobody knows whose they are: nothing is guessed."""
        leave(path, line(1))
        events_path(path).unlink()
        with pytest.raises(LogFileError, match="does not say which container"):
            LandedFile(path)
        assert path.read_bytes() == line(1)


class TestTail:
    def test_it_begins_behind_the_last_gap_that_parts_anything(self, path: Path) -> None:
        """What landed before a gap is not in front of what follows it in the engine's log; also for who finds the file later."""
        with opened(path) as file:
            begin(file)
            file.append(line(1))
            file.note({"event": "gap"})
            assert file.tail().lines == (line(1),)
            file.append(line(2))
            assert file.tail() == Tail((line(2),), whole=True, landed_bytes=len(line(2)))
            file.note({"event": "gap", "overlap": 1})  # what follows it is taken to follow what was before
            file.append(line(3))
            file.note({"event": "gap"})
            assert file.tail() == Tail((line(2), line(3)), whole=True, landed_bytes=2 * len(line(2)))
        with opened(path) as file:
            assert file.tail() == Tail((line(2), line(3)), whole=True, landed_bytes=2 * len(line(2)))
            file.append(line(4))
            assert file.tail() == Tail((line(4),), whole=True, landed_bytes=len(line(4)))

    def test_a_gap_is_remembered_when_the_container_was_started_again(self, path: Path) -> None:
        """The log goes on, and so does what is known of it; also for who finds the file later."""
        with opened(path) as file:
            begin(file)
            file.append(line(1))
            file.note({"event": "gap"})
            file.append(line(2))
            begin(file, started_at="later")
            begin(file, started_at="later still")
        with opened(path) as file:
            assert file.tail() == Tail((line(2),), whole=True, landed_bytes=len(line(2)))

    def test_it_is_long_enough_to_be_found_again(self, path: Path) -> None:
        """256 lines at least, of a file of any size, whole lines only."""
        with opened(path) as file:
            begin(file)
            lines = [line(number) for number in range(20_000)]
            file.append(b"".join(lines))
            tail = file.tail()
        assert not tail.whole
        assert 256 <= len(tail.lines) < 20_000
        assert list(tail.lines) == lines[-len(tail.lines) :]

    def test_huge_lines_are_read_back_as_many_as_it_takes(self, path: Path) -> None:
        """The parts of long lines, 16 KiB each, are lines like others."""
        with opened(path) as file:
            begin(file)
            lines = [line(number, b"x" * 16384) for number in range(400)]
            file.append(b"".join(lines))
            tail = file.tail()
        assert len(tail.lines) >= 256
        assert list(tail.lines) == lines[-len(tail.lines) :]

    def test_a_long_run_of_equal_lines_is_read_to_before_its_beginning(self, path: Path) -> None:
        """Equal lines are told apart by how many there are, so all of them are needed, and what was before."""
        with opened(path) as file:
            begin(file)
            lines = [line(number) for number in range(3000)] + [line(0)] * 3000
            file.append(b"".join(lines))
            tail = file.tail()
        assert len(tail.lines) > 3000
        assert list(tail.lines) == lines[-len(tail.lines) :]

    def test_lines_are_parted_at_newlines_only(self, path: Path) -> None:
        """A carriage return or a form feed ends no line."""
        odd = line(1, b"50%\r60%\r\x0b\x0c\x1c\x85\n")
        with opened(path) as file:
            begin(file)
            file.append(odd)
            assert file.tail().lines == (odd,)

    @pytest.mark.parametrize("foreign", [b"\n", b"x\n", b"my own short note\n", b"\0" * 100, line(9)[4:]])
    def test_what_somebody_wrote_between_the_lines_parts_them(self, path: Path, foreign: bytes) -> None:
        """An editor left a line there, or a power cut zeros: the end is known by what follows, if that is enough."""
        lines = [line(number) for number in range(20)]
        leave(path, b"".join([*lines[:10], foreign, *lines[10:]]))
        with opened(path) as file:
            kept = 9 if foreign.startswith(b"\0") else 10  # they are in front of a line, which is no landed one then
            assert file.tail().lines == tuple(lines[-kept:])
            assert file.tail().whole

    @pytest.mark.parametrize("after", [[], [line(1)], [line(1), line(1)]])
    def test_where_too_little_follows_it_nothing_is_guessed(self, path: Path, after: list[bytes]) -> None:
        """A line or two may be found in many a place."""
        with opened(path) as file:
            begin(file)
            file.append(b"".join([line(1), line(1), b"my own short note\n", *after]))
            with pytest.raises(LogFileError, match="did not land"):
                file.tail()


class TestClosing:
    def test_an_error_is_told_and_the_file_is_closed_all_the_same(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A network file system may find only now that there is no room; the number of what was closed is another file's soon."""
        close = os.close

        def fails(fd: int) -> None:
            close(fd)
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

        file = LandedFile(path)
        with monkeypatch.context() as patch:
            patch.setattr(os, "close", fails)
            with pytest.raises(LogFileError, match="closed with an error: Disk quota exceeded"):
                file.close()
        file.close()
        LandedFile(path).close()
