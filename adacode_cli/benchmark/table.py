"""Measurements in words: a table of settings, and one of each setting's stages."""

from __future__ import annotations

from dataclasses import dataclass

from adacode_cli.benchmark.measure import STAGES_AT_MOST, Measurement, Stage

NOTES = (
    "MP: a million pixels of the result; reading and writing files isn't counted. s/MP: the median."
    " Peak memory: {memory}. Stages: one pass over at most {side}×{side} pixels of the result."
    " FLOP: of convolutions, products and attention."
)
WORK = ("GFLOP/MP", "GFLOP/s", "of ceiling")
MEMORY = {
    "resident": "of the process; added: by restoring, to what the program and its model take",
    "allocated": "allocated on the GPU; added: by restoring, to what the model takes",
}


@dataclass(frozen=True)
class Table:
    """Headings, and rows of as many cells."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def settings_table(measured: list[Measurement]) -> Table:
    """A row for each setting."""
    headings = ("result", "s/MP", "min–max", "peak memory", "added", *WORK)
    return Table(
        (*names_of_setting(measured), *headings),
        tuple((*name_setting(m, measured), *setting_row(m)) for m in measured),
    )


def setting_row(m: Measurement) -> tuple[str, ...]:
    """What was found for one."""
    return (
        f"{m.after[0]}×{m.after[1]}",
        figure(m.seconds.median),
        "–".join(map(figure, m.seconds.range)),
        megabytes(m.memory.peak) if m.memory else "not told",
        megabytes(m.memory.growth) if m.memory else "",
        *work_cells(m, m),
    )


def stages_table(m: Measurement) -> Table:
    """A row for each stage of one setting."""
    headings = ("stage", "s/MP", "share", *WORK)
    return Table(headings, tuple(stage_row(stage, m) for stage in m.stages))


def stage_row(stage: Stage, m: Measurement) -> tuple[str, ...]:
    """What was found for one."""
    return stage.name, figure(stage.seconds), percent(stage.share), *work_cells(stage, m)


def work_cells(part: Measurement | Stage, m: Measurement) -> tuple[str, str, str]:
    """Operations, operations a second, and how near that is to the ceiling."""
    if not part.flop:
        return "", "", ""
    gflop, rate = part.flop / 1e9, part.flop_per_second / 1e9
    return figure(gflop), figure(rate), percent(m.of_ceiling(part))


def names_of_setting(measured: list[Measurement]) -> tuple[str, ...]:
    """The columns that tell settings apart."""
    return ("weights", "precision", "device")[: 3 if differs_in_place(measured) else 2]


def name_setting(m: Measurement, measured: list[Measurement]) -> tuple[str, ...]:
    """The cells below."""
    cells = (m.setting.weights, m.setting.precision, m.setting.place)
    return cells[: len(names_of_setting(measured))]


def differs_in_place(measured: list[Measurement]) -> bool:
    """Whether not all were measured on the same device by as many threads."""
    return len({m.setting.place for m in measured}) > 1


def title(machine: dict[str, str], measured: list[Measurement], repeats: int) -> str:
    """What was measured on, with what, and how often."""
    found = [machine["processor"], f"torch {machine['torch']}", f"adacode {machine['adacode']}"]
    if not differs_in_place(measured):
        found[1:1] = [measured[0].setting.place]
    return f"{', '.join(found)}; {repeats} runs each" if repeats > 1 else ", ".join(found)


def notes(measured: list[Measurement]) -> list[str]:
    """What the columns mean, and what the ceilings were."""
    kinds = dict.fromkeys(m.memory.kind for m in measured if m.memory)
    memory = "; ".join(MEMORY[kind] for kind in kinds) or "this system doesn't tell it"
    several = differs_in_place(measured)
    ceilings = dict.fromkeys(
        f"Ceiling in {m.setting.precision}{f' on {m.setting.place}' if several else ''}:"
        f" {figure(m.ceiling.flop_per_second / 1e9)} GFLOP/s, {m.ceiling}."
        for m in measured
    )
    return [NOTES.format(memory=memory, side=STAGES_AT_MOST), *ceilings]


def figure(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def percent(share: float) -> str:
    """'41 %'."""
    return f"{100 * share:.0f} %"


def megabytes(size: int) -> str:
    """'312 MB'."""
    return f"{size / 1e6:,.0f} MB"
