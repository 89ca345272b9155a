from __future__ import annotations

import resource

from iris_adapters.ssh.open_files import allow_many_open_files


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    """As much as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lower = min(hard, 1024)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lower, hard))
    try:
        allow_many_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
