"""`iris doctor`."""

# ruff: noqa: PLC0415 - `iris --help` is to import nothing heavy

from __future__ import annotations

import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from iris_adapters.cli.common import (
    NeededConfigOption,
    Output,
    OutputOption,
    PrefixOption,
    note,
    open_cluster,
    read_gcp_config,
    say,
)

_INDENT = "         "


def doctor(
    config: NeededConfigOption,
    prefix: PrefixOption = None,
    log_dir: Annotated[Path, typer.Option(metavar="DIR", readable=False, help="Where logs are to be landed.")] = Path(),
    output: OutputOption = Output.TABLE,
) -> None:
    """Check what a cluster needs, here and in the project, and say what to do about what is missing. Changes nothing."""
    from iris_adapters.cli.tables import print_json
    from iris_adapters.doctor import examine

    settings = read_gcp_config(config, prefix)
    findings = []
    with open_cluster(settings) as container:
        for finding in examine(container, log_dir):
            findings.append(finding)
            if output is Output.TABLE:
                word = "ok" if finding.ok else "PROBLEM" if finding.exit_code else "skipped"
                text = textwrap.indent(finding.text, _INDENT).strip()
                say(f"{word:<8} {finding.check}: {text}")
    if output is Output.JSON:
        print_json([asdict(finding) for finding in findings])
    problems = [finding for finding in findings if finding.exit_code]
    if problems:
        note(f"{len(problems)} of {len(findings)} checks found a problem.")
        raise typer.Exit(problems[0].exit_code)
