"""adacode doctor: what is here, and does it work?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from adacode_cli.cli import options, problems


@problems.explained
def doctor(
    hub: Annotated[
        bool, typer.Option("--hub", help="Also ask the Hub whether it answers: uses the network.")
    ] = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    offline: options.Offline = False,
) -> None:
    """Show what is installed and where things are looked for, and restore a small crop.

    Exit code 1 if something needed is missing, the Hub was asked and doesn't answer, or the
    crop doesn't come out as it should.
    """
    problems.show_logs()
    from adacode_cli import machine

    report = {
        "versions": machine.versions(),
        "devices": machine.devices(),
        "room": machine.room(),
        "formats and extras": machine.formats(),
        "places": machine.places(),
        "environment": machine.environment(),
    }
    wrong = [f"{k}: {v}" for part in report.values() for k, v in part.items() if v == "MISSING"]
    if hub:
        report["hub"], trouble = ask_hub()
        wrong += trouble
    report["self-test"], trouble = test_itself(device, precision)
    wrong += trouble
    if as_json:
        with problems.answering():
            typer.echo(json.dumps({**report, "wrong": wrong}, indent=1))
    else:
        show(report)
    for problem in wrong:
        problems.complain(problem)
    if wrong:
        raise typer.Exit(1)


def ask_hub() -> tuple[dict[str, str], list[str]]:
    """The Hub's answer, and what is wrong with it."""
    from adacode_cli import machine

    problems.say("asking the Hub whether it answers")
    try:
        found = machine.hub_answer()
    except OSError as error:
        return {"answer": "none"}, [str(error)]
    return found, [f"{k}: {v}" for k, v in found.items() if "answers," not in v]


def test_itself(device: str, precision: str) -> tuple[dict[str, str], list[str]]:
    """What became of the crop, and what is wrong with it."""
    from adacode_cli import self_test

    try:
        outcome = self_test.run(device, precision)
    except (OSError, ValueError, RuntimeError, ArithmeticError) as error:
        return {self_test.MODEL: "FAILED"}, [f"self-test: {error}"]
    told = f"differs by {outcome.difference} of 255 ({self_test.TOLERANCE} are allowed)"
    if outcome.passed:
        return {self_test.MODEL: f"passed, {told}"}, []
    return {self_test.MODEL: f"FAILED, {told}"}, [f"self-test: the restored crop {told}"]


@problems.answering()
def show(report: dict[str, dict[str, str]]) -> None:
    """Sections and lines on stdout."""
    for title, part in report.items():
        if part:
            typer.echo(f"\n{title}" if title != "versions" else title)
        for name, value in part.items():
            typer.echo(f"  {name:<22} {value}")
