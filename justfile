# The project's commands. `just` alone lists them.

set shell := ["bash", "-euo", "pipefail", "-c"]

# What Python compiles is kept, whatever the machine's environment says: libraries and tests compiled anew are half of a run of the tests.
export PYTHONDONTWRITEBYTECODE := ""

# list the commands
default:
    @just --list --unsorted

# format the code
fmt:
    uv run ruff check --fix .
    uv run ruff format .

# lint and check the formatting
lint:
    uv run ruff format --check .
    uv run ruff check .

# check the types
types:
    uv run mypy

# check who imports whom
imports:
    uv run lint-imports

# unit and contract tests: no network, no services, seconds; on all of the machine's cores, up to four
test *args:
    uv run pytest tests/unit tests/contracts -m "not lab and not ray" -n logical --maxprocesses 4 --dist worksteal {{ args }}

# mistakes put into the log capture on purpose, each of which the tests must notice: 20 seconds
mutations:
    uv run python tests/mutations.py

# the one gate: what CI runs first
check: lint types imports test

# whether iris has lost 30 % against other ways since its ratios were checked in: under 3 minutes
test-ratios *args:
    uv run pytest tests/benchmarks/test_ratios.py {{ args }}

# every test, with the real gcloud, sshd and dockerd (tests/run-all installs them); without arguments the ratios first, while nothing else runs
test-all *args:
    {{ if args == "" { "just test-ratios" } else { "" } }}
    uv run pytest tests -m "not ray" --ignore tests/benchmarks/test_ratios.py {{ args }}
    UV_PROJECT_ENVIRONMENT=.venv-ray uv sync --group ray --compile-bytecode # Ray starts a dozen programs, each of which would compile it anew
    UV_PROJECT_ENVIRONMENT=.venv-ray uv run --group ray pytest tests -m ray {{ args }}

# random histories of the log capture: 10,000 of them, about 12 minutes
properties histories="3400":
    IRIS_HISTORIES={{ histories }} uv run pytest tests/unit/core/test_capture_properties.py -o timeout=3600

# the fault suite's short form: real sshd, Docker and iris, and what can go wrong between them, in under 5 minutes (docs/faults.md)
faults *args:
    uv run pytest tests/integration/faults {{ args }}

# the fault suite's long form: more than 1,000 faults, about a quarter of an hour; writes the tables of docs/faults.md
faults-long *args:
    uv run python -m tests.integration.faults --page docs/faults.md {{ args }}

# iris measured beside other ways, case by case (none named: all, about a quarter of an hour); writes docs/performance.md
bench *cases:
    uv run python -m tests.benchmarks {{ cases }}

# whether memory stays as it is over 10 minutes (or so many) of 1,000 streams, and after 10 GB through one: a case of the benchmark
bench-long minutes="10":
    IRIS_BENCH_MINUTES={{ minutes }} uv run python -m tests.benchmarks long

# where the CPU goes in the two hottest cases: a case of the benchmark
bench-profile:
    uv run --with py-spy python -m tests.benchmarks profile

# the benchmark in under 3 minutes, as ratios; `--write` makes them the ones that a test judges later changes by
bench-short *args:
    uv run python -m tests.benchmarks.short {{ args }}

# a day of preemptions at 10,000 hosts in fake time: about 25 minutes of one core (docs/scaling.md)
scale hosts="10000" hours="24":
    uv run python -m tests.benchmarks.scale {{ hosts }} {{ hours }}

# what the log capture costs, in microseconds per line; what a resume of 5 GB takes
bench-parts:
    uv run python tests/benchmarks/engine_api.py
    uv run python -m tests.benchmarks.resume

# run the smoke test in this process
smoke:
    uv run iris smoke-test

# `iris up` killed after each distinct API request, at every point in both ways: about three minutes on an idle machine
fault-points:
    IRIS_FAULT_POINTS=all uv run pytest tests/e2e/test_fault_points.py
