"""The model card: what a repository of the Hub says about weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from adacode_cli.weights.describe import Description

TAGS = ["adacode", "image-restoration", "vector-quantization", "image-to-image"]
TASK_TAGS = {
    "sr": "super-resolution",
    "inpaint": "image-inpainting",
    "reconstruct": "image-compression",
}
COMMANDS = {
    "sr": "adacode sr photo.jpg",
    "inpaint": "adacode inpaint photo.png --mask mask.png",
    "reconstruct": "adacode reconstruct photo.png",
}
INTRODUCTION = (
    "Weights for [AdaCode](https://arxiv.org/abs/2306.06513), image restoration with"
    " image-adaptive codebooks, in the form that `adacode` reads."
)
Means = Mapping[str, Mapping[str, float]]  # method → metric → mean


@dataclass(frozen=True)
class Entry:
    """One file of a repository: its name there, and what it says of itself."""

    file: str
    told: Description


def read_means(scores: Path) -> Means:
    """The means in what 'adacode eval --json' printed, where it has any. Raises ``ValueError``."""
    try:
        means = json.loads(scores.read_text())["mean"]
        return {
            str(method): {str(k): float(value) for k, value in values.items() if value is not None}
            for method, values in means.items()
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{scores}: isn't what 'adacode eval --json' prints ({error})") from error


def write_card(
    repo: str, entries: Sequence[Entry], means: Means, sheet: str | None, license_name: str
) -> str:
    """The README.md of a repository: the Hub's header, then words."""
    header = card_data(repo, entries, means, license_name).to_yaml()
    parts = [
        f"# {repo.rpartition('/')[2]}",
        INTRODUCTION,
        *([f"![Details: bicubic, restored, original]({sheet})"] if sheet else []),
        "## Use",
        "```sh\n" + "\n".join(use(repo, entry, entries) for entry in entries) + "\n```",
        *(["## Scores", table(means)] if means else []),
        "## Files",
        *(describe_file(entry) for entry in entries),
    ]
    return f"---\n{header}\n---\n\n" + "\n\n".join(parts) + "\n"


def card_data(
    repo: str, entries: Sequence[Entry], means: Means, license_name: str
) -> ModelCardData:
    """What the Hub's pages and filters read."""
    tasks = [TASK_TAGS[entry.told.task] for entry in entries]
    methods = [name for name in means if name != "bicubic"]
    results = [
        EvalResult(
            task_type="image-to-image",
            dataset_type="photos",
            dataset_name="clean photos, degraded by adacode eval",
            metric_type=metric,
            metric_value=value,
        )
        for method in methods
        for metric, value in means[method].items()
    ]
    name = repo.rpartition("/")[2]
    return ModelCardData(
        library_name="adacode",
        license=license_name,
        pipeline_tag="image-to-image",
        tags=sorted({*TAGS, *tasks}),
        model_name=name if results else None,
        eval_results=results or None,
    )


def use(repo: str, entry: Entry, entries: Sequence[Entry]) -> str:
    """The command that uses a file."""
    file = f"/{entry.file}" if len(entries) > 1 else ""
    return f"{COMMANDS[entry.told.task]} --weights hf:{repo}{file}"


def table(means: Means) -> str:
    """A row per method, the metrics as columns."""
    metrics = list(dict.fromkeys(metric for scores in means.values() for metric in scores))
    lines = ["| method | " + " | ".join(metrics) + " |", "| --- " * (len(metrics) + 1) + "|"]
    for method, scores in means.items():
        cells = [f"{scores[metric]:.3f}" if metric in scores else "" for metric in metrics]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def describe_file(entry: Entry) -> str:
    """A file: what it is, and how it was trained, as far as it says so."""
    told = entry.told
    books = ", ".join(
        f"{name} ({codes} codes of {dim})" for name, (codes, dim) in told.codebooks.items()
    )
    lines = [
        f"### {entry.file}",
        f"- task: {told.task}, ×{told.scale}; family: {told.family}",
        f"- {told.parameters / 1e6:.2f} million parameters, {', '.join(told.dtypes)}",
        f"- {told.size / 1e6:.1f} MB",
        f"- codebooks: {books}",
        f"- SHA-256: `{told.sha256}`",
    ]
    if told.training:
        lines += ["- training:", "", "```json", json.dumps(told.training, indent=1), "```"]
    return lines[0] + "\n\n" + "\n".join(lines[1:])
