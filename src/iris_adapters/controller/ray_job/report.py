"""What driver and client agree on: the report's name and the line that begins a job's own output. Imports nothing."""

from __future__ import annotations

BEGIN_LINE = "[iris: the job's output begins]"
"""What the driver prints before the first line of a replica: what comes before it in the log is Ray's."""


def report_name(job_id: str) -> str:
    """The name of the driver's report in the log directory of its node."""
    return f"iris-job-{job_id}.json"
