"""Breaks the log capture on purpose, in copies of the source, and checks that the tests notice: `just mutations`.

Each mutation is a mistake that somebody might make, or did: the tests named beside it must fail with it, and pass without.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
WORKERS: Final = 2
PASSED: Final = 0
FAILED: Final = 1  # pytest's status for failed tests; others mean that they could not be run
CORE: Final = "tests/unit/core"


@dataclass(frozen=True)
class Mutation:
    """A mistake: in each file of `edits`, the first text (found once there) becomes the second."""

    name: str
    tests: str
    edits: tuple[tuple[str, str, str], ...]


def one(name: str, tests: str, file: str, old: str, new: str) -> Mutation:
    return Mutation(name, tests, ((file, old, new),))


ENDED: Final = """                case Ended():
                    raise LostError(self._why(event))
                case Woken() if self.now < wake_at:
"""
SILENT: Final = """                raise LostError(f"the Docker engine fell silent for {REPLY_SECONDS:.0f} s in the middle of an answer")
"""
COMPLETE: Final = """                outcome.complete = True
                return outcome
"""

MUTATIONS: Final = (
    Mutation(
        "a timestamp cursor instead of the anchor",
        "test_capture.py",
        (
            (
                "log_cursor.py",
                "        self._context = anchor.context\n",
                "        self._context, self._stamp = anchor.context, anchor.timestamp\n",
            ),
            (
                "log_cursor.py",
                "        context, fallback, matched = self._context, self._fallback, self._matched\n",
                (
                    "        later = (at for at, line in enumerate(lines) if timestamp_of(line) > self._stamp)\n"
                    "        if (index := next(later, None)) is not None:\n"
                    "            return index\n"
                    "        context, fallback, matched = self._context, self._fallback, self._matched\n"
                ),
            ),
        ),
    ),
    Mutation(
        "a connection that ends counts as the end of the answer",
        "test_capture.py",
        (
            ("engine_channel.py", ENDED, "                case Woken() if self.now < wake_at:\n"),
            ("engine_channel.py", SILENT, COMPLETE),
        ),
    ),
    Mutation(
        "exit status 0 counts as the end of the answer",
        "test_capture.py",
        (
            ("engine_channel.py", ENDED, ENDED.replace("Ended()", "Ended(status) if status != 0")),
            ("engine_channel.py", SILENT, COMPLETE),
        ),
    ),
    one(
        "a watch that has not listed ends as if it knew all",
        "test_cluster_capture.py",
        "container_watch.py",
        "        if not self._up_to_date:\n",
        "        if False:\n",
    ),
    one(
        "a list that was asked for before the request to end counts as the last",
        "test_container_watch.py",
        "container_watch.py",
        "            if last_round and (self.connected or refused):\n",
        "            if self._channel.draining and (self.connected or refused):\n",
    ),
    one(
        "changes are told from now on, not from the list on",
        "test_container_watch.py",
        "container_watch.py",
        "self._channel.await_change(self._label, at, relist,",
        "self._channel.await_change(self._label, None, relist,",
    ),
    one(
        "what is found at the end is begun and not drained",
        "test_cluster_capture.py",
        "cluster_capture.py",
        "                if end_at is not None:\n",
        "                if end_at is None:\n",
    ),
    one(
        "any last chunk proves the end",
        "test_engine_api.py",
        "engine_api.py",
        "        if size:\n            return data[begin:end]\n",
        "        if len(data) > self.position:\n            return data[begin:end]\n",
    ),
    one(
        "the chunk's size is not looked at where lines are usual",
        "test_log_reply.py",
        "log_reply.py",
        'if chunk_size == b"%x" % (size + _FRAME_HEAD_BYTES) else None',
        "if chunk_size else None",
    ),
    one(
        "a chunk's end is not looked for where lines are usual",
        "test_log_reply.py",
        "log_reply.py",
        '            or data[end : end + 2] != b"\\r\\n"\n',
        "            or end + 2 > length\n",
    ),
    one(
        "usual lines may have newlines inside",
        "test_log_reply.py",
        "log_reply.py",
        'find(b"\\n", begin) != end - 1\n',
        'data[end - 1 : end] != b"\\n"\n',
    ),
    one(
        "usual lines may have spaces in their timestamps",
        "test_log_reply.py",
        "log_reply.py",
        'find(b" ", begin) != space\n',
        'data[space : space + 1] != b" "\n',
    ),
    one(
        "usual lines may have any timestamp",
        "test_log_reply.py",
        "log_reply.py",
        "            or data[begin + _T_AT] != _T\n",
        "",
    ),
    one(
        "a frame's beginning is forgotten where usual lines follow",
        "test_log_reply.py",
        "log_reply.py",
        "if framed_chunks and not entries.rest:",
        "if framed_chunks:",
    ),
    one(
        "a torn tail is not cut",
        "test_capture.py test_log_file.py",
        "log_file.py",
        "        if torn:\n            os.ftruncate(self._fd, end)\n",
        "        if not torn:\n            os.ftruncate(self._fd, end)\n",
    ),
    one(
        "a torn event is not cut",
        "test_log_file.py",
        "log_file.py",
        "        self._record.cut_torn_event()\n",
        "",
    ),
    one(
        "a torn event is cut where a block begins",
        "test_event_record.py",
        "event_record.py",
        "                end = begin\n",
        "                break\n",
    ),
    one(
        "a container that has its name again is landed from its first line",
        "test_capture.py",
        "log_file.py",
        ", earlier=self._earlier(container_id))",
        ")",
    ),
    one(
        "what landed of a container before another had its name is forgotten by the next iris",
        "test_capture.py",
        "event_record.py",
        '_stretches(details.get("continues"), offset)',
        "()",
    ),
    one(
        "a record that was deleted is begun without whose the lines are",
        "test_capture.py",
        "event_record.py",
        "            if not end:\n",
        "            if end < 0:\n",
    ),
    one(
        "gaps are forgotten when a container is started again",
        "test_log_file.py",
        "event_record.py",
        'details.get("offset") == begin',
        "begin >= 0",
    ),
    one(
        "the last line alone is the anchor",
        "test_capture.py",
        "log_cursor.py",
        "tuple(hashes[-length:] if length else hashes)",
        "tuple(hashes[-1:])",
    ),
    one(
        "what a log began with is forgotten from one read to the next",
        "test_capture_of_parts.py",
        "log_reading.py",
        "self._beginning = seen if outcome.found else None",
        "self._beginning = None",
    ),
    one(
        "a few parts at a log's beginning are as good as many",
        "test_capture_of_parts.py",
        "log_cursor.py",
        "    enough = 1 if len(set(latest)) == CONTEXT_LINES else CONTEXT_LINES\n",
        "    enough = 1 if latest else CONTEXT_LINES\n",
    ),
    one(
        "parts that may be landed ones are landed again",
        "test_capture_of_parts.py",
        "log_reading.py",
        "        if overlap.count:\n",
        "        if not overlap.count:\n",
    ),
    one(
        "what has landed before a gap is looked for before what follows it",
        "test_log_file.py",
        "event_record.py",
        "return ((gap, end),) if gap >= self.offset else (",
        "return (",
    ),
    one(
        "the anchor is looked for where it cannot be certain",
        "test_capture.py",
        "log_cursor.py",
        "certain=length is not None",
        "certain=True",
    ),
    one(
        "the context may begin inside a run that goes on",
        "test_log_cursor.py",
        "log_cursor.py",
        "        if border == 0 and length",
        "        if length",
    ),
    one(
        "the parts of an unfinished line count as what cannot come again",
        "test_log_cursor.py",
        "log_cursor.py",
        "        if stream in ended and timestamp_of(line) != stamp:",
        "        if timestamp_of(line) != stamp:",
    ),
    one(
        "an old container is not read to its end",
        "test_capture.py",
        "log_source.py",
        "        if not self._container_id or self._left:\n",
        "        if self._container_id or self._left:\n",
    ),
    one(
        "a container that had ended is not thought to have run again",
        "test_capture.py",
        "log_source.py",
        "        return not again\n",
        "        return True\n",
    ),
    one(
        "a beginning that may have been rotated away is taken for the beginning",
        "test_capture.py test_log_head.py",
        "log_head.py",
        "self._file_bytes >= self._kept_bytes or",
        "",
    ),
    one(
        "a log that rotates is followed",
        "test_capture.py",
        "log_source.py",
        "        elif state.can_rotate:\n",
        "        elif state.can_rotate and state.tty:\n",
    ),
    one(
        "a gap is passed over in silence",
        "test_capture.py",
        "log_reading.py",
        "        if not progress.landed:\n",
        "        if progress.landed:\n",
    ),
    one(
        "a drain does not read once more",
        "test_capture.py",
        "log_source.py",
        "            if last_round and self._at_rest(state, landed):\n",
        "            if self._channel.draining and self._at_rest(state, landed):\n                return\n"
        "            if self._channel.draining:\n",
    ),
    one(
        "lines that could not be written are given up",
        "test_capture.py",
        "log_pump.py",
        "                slot.landing.failed(error)\n                break\n",
        "                slot.landing.failed(error)\n                slot.pending.popleft()\n                break\n",
    ),
    one(
        "a line is written again when its event could not be",
        "test_log_pump.py",
        "landing.py",
        "        with suppress(LogFileError):  #",
        "        if True:  #",
    ),
    one(
        "a start counts by its time alone",
        "test_capture.py",
        "container_state.py",
        "again = again or ended or at > finished",
        "again = again or at > finished",
    ),
    one(
        "a fault in one source ends all",
        "test_log_pump.py",
        "log_pump.py",
        "                self._take_inbox(slot)\n            except Exception as error:",
        "                self._take_inbox(slot)\n            except LogFileError as error:",
    ),
    one(
        "a log in which something has failed is begun anew at once",
        "test_cluster_capture.py",
        "cluster_capture.py",
        "slot.done and slot.fault is None and",
        "slot.done and",
    ),
    one(
        "what follows another's text in a landed file is thought to follow what was before it",
        "test_log_file.py",
        "log_file.py",
        "            if sum(map(len, lines)) != len(data):\n",
        "            if not data:\n",
    ),
    one(
        "a landed file is looked at again only when the engine is asked anew",
        "test_log_pump.py",
        "log_pump.py",
        "            self._perform(slot, [_VERIFY])\n",
        "            self._perform(slot, [])\n",
    ),
    one(
        "it is not looked at when the engine is asked anew",
        "test_log_pump.py",
        "log_file.py",
        "        self.verify()\n        stretches",
        "        stretches",
    ),
    one(
        "an inbox without bound",
        "test_capture.py",
        "process_inbox.py",
        "pause = self._bytes > _HIGH_BYTES and not self._paused",
        "pause = self._bytes < 0",
    ),
    one(
        "no lock",
        "test_log_file.py",
        "log_file.py",
        "            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            fcntl.flock(self._fd, fcntl.LOCK_UN)\n",
    ),
    one(
        "a new container's lines follow without a record",
        "test_capture.py",
        "log_file.py",
        "        self.life = life\n\n    def _earlier",
        "\n    def _earlier",
    ),
    one(
        "a host created anew is taken for the old one",
        "test_worker_discovery.py test_cluster_capture.py",
        "worker_discovery.py",
        "(host.instance_id, host.address) == (other.instance_id, other.address)",
        "host.address == other.address",
    ),
    one(
        "a log's file has the last word instead of the engine",
        "test_capture_by_file.py",
        "log_reading.py",
        "            self._pace = None  # the engine has the last word\n            yield from self._snapshot(state)\n",
        "",
    ),
    one(
        "the first entry of a log's file counts although its beginning is cut off",
        "test_json_file_log.py",
        "json_file_log.py",
        "self._in_cut_entry = not from_start",
        "self._in_cut_entry = False",
    ),
    one(
        "the place in a log's file is believed",
        "test_capture_by_file.py",
        "json_file_reading.py",
        "state, Seeker(anchor, whole=False), place - _OVERLAP_BYTES",
        "state, None, place",
    ),
    one(
        "a log that breaks off once is left out there",
        "test_capture_of_damaged_logs.py",
        "log_source.py",
        "snapshot(state, leave_out=self._repeated_failure.for_good)",
        "snapshot(state, leave_out=True)",
    ),
    one(
        "a new container waits for ever for one whose log cannot be read",
        "test_capture.py",
        "log_source.py",
        "if error.status not in _NEVER and not for_good:",
        "if error.status not in _NEVER:",
    ),
    one(
        "the lines before an error in a log are thrown away",
        "test_log_reply.py",
        "log_reply.py",
        "            self._error = error\n",
        "            raise\n",
    ),
    one(
        "the backoff grows for ever",
        "test_backoff.py",
        "backoff.py",
        "min(self._failures - 2, _MOST_DOUBLINGS)",
        "self._failures - 2",
    ),
)


def status(mutation: Mutation) -> int:
    """Run the mutation's tests on a copy of the source that has it, and return pytest's exit status."""
    with tempfile.TemporaryDirectory(prefix="iris-mutation-") as directory:
        source = Path(directory) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        for name, old, new in mutation.edits:
            file = source / "iris_core" / name
            text = file.read_text()
            if text.count(old) != 1:
                raise SystemExit(f"{mutation.name}: not exactly one place in {name} has\n{old}")
            file.write_text(text.replace(old, new))
        tests = [f"{CORE}/{test}" for test in mutation.tests.split()]
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-xq",
            "-p",
            "no:cacheprovider",
            "-o",
            f"pythonpath={source} .",
            *tests,
        ]
        return subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=100).returncode


def main() -> int:
    """Run all of them and say what became of each."""
    healthy = Mutation(
        "none", " ".join(sorted({test for mutation in MUTATIONS for test in mutation.tests.split()})), ()
    )
    with ThreadPoolExecutor(WORKERS) as pool:
        statuses = list(pool.map(status, (healthy, *MUTATIONS)))
    wrong = 0
    for mutation, got in zip((healthy, *MUTATIONS), statuses, strict=True):
        right = got == (FAILED if mutation.edits else PASSED)
        wrong += not right
        outcome = {PASSED: "tests pass", FAILED: "tests fail"}.get(got, f"pytest exits with {got}")
        print(f"{'ok ' if right else 'BAD'} {mutation.name}: {outcome}")  # noqa: T201 - this is its output
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
