"""The report's figures on tokens and shards: words, unknown characters, masks as measured, row lengths.

tokens(...)[0]                {"source": "news", "documents": 3_000, "tokens": 1_470_756, "units": 800_680, ...}
unknown_characters(...)[0]    {"character": "踔", "code": "U+8E14", "count": 76}
shards(...)[0]                {"source": "news", "sequence_length": 128, "split": "train", "masked_ratio": 0.1504, ...}
masks(...)["rows"][0]         {"label": "news 128", "numbers": [240_626, 30_098, 30_449], "fractions": [0.799, 0.100, 0.101]}
"""

from collections.abc import Sequence
from typing import Any

from pipeline.engine import counting
from pipeline.engine.stages import Finished
from workflows.report.data_figures import Table, stacks
from workflows.report.funnel import Row

MOST_UNKNOWN = 60
"""Number of unknown characters shown."""
COUNTS = ("documents", "sentences", "units", "tokens", "unknown", "without_tokens")
SHOWN_AS = ("[MASK]", "itself", "another token")
"""What a masked token is replaced by."""
PAIR_COUNTS = ("random_next", "swapped", "single", "borrowed", "cut_sentences", "truncated")
_BARS = 8


def vocabulary(stage: Finished | None) -> Row | None:
    """Return the vocabulary's facts, among them its mapped punctuation: {"“": '"', "—": "-"}."""
    if stage is None:
        return None
    names = ("size", "sha256", "built", "do_lower_case", "mapped_punctuation")
    return {name: stage.manifest.get(name) for name in names}


def tokens(stages: Sequence[Finished], funnel: Sequence[Row]) -> list[Row]:
    """Return words and tokens of each source, and of all together if there are several."""
    characters = {row["source"]: row["characters"]["kept"] for row in funnel}
    rows = [
        {
            **{name: stage.manifest.get("counts", {}).get(name, 0) for name in COUNTS},
            "characters": characters.get(stage.manifest["source"], 0),
        }
        for stage in stages
    ]
    names = [str(stage.manifest["source"]) for stage in stages]
    if len(rows) > 1:
        rows, names = [*rows, counting.total(rows)], [*names, ""]
    return [{"source": name, **row, **_means(row)} for name, row in zip(names, rows, strict=True)]


def _means(row: Row) -> Row:
    return {
        "characters_per_token": _ratio(row["characters"], row["tokens"]),
        "tokens_per_unit": _ratio(row["tokens"], row["units"]),
        "units_per_sentence": _ratio(row["units"], row["sentences"]),
        "unknown_ratio": _ratio(row["unknown"], row["tokens"]),
    }


def unknown_characters(tokens: Sequence[Finished], shards: Sequence[Finished]) -> list[Row]:
    """Return characters that became [UNK], most frequent first. Shards of one source contain the same text: count it once."""
    counts: dict[tuple[str, str], int] = {}
    for stage in tokens or shards:
        for character, number in stage.manifest.get("unknown_characters", {}).items():
            place = (stage.manifest["source"], character)
            counts[place] = max(counts.get(place, 0), number)
    total: dict[str, int] = {}
    for (_, character), number in counts.items():
        total[character] = total.get(character, 0) + number
    ordered = sorted(total.items(), key=lambda item: (-item[1], item[0]))[:MOST_UNKNOWN]
    return [
        {"character": character, "code": " ".join(f"U+{ord(one):04X}" for one in character[:4]), "count": number}
        for character, number in ordered
    ]


def shards(stages: Sequence[Finished]) -> list[Row]:
    """Return one row for train and one for validation of each set of shards."""
    return [_shard_row(stage, split) for stage in stages for split in stage.manifest.get("counts", {})]


def _shard_row(stage: Finished, split: str) -> Row:
    manifest, counts = stage.manifest, stage.manifest["counts"][split]
    draws = manifest.get("masking", {}).get("static_draws", 1)
    return {
        "source": manifest["source"],
        "sequence_length": manifest["sequence_length"],
        "split": split,
        "draws": draws,
        **{name: counts.get(name, 0) for name in ("rows", "documents", "tokens", "masked", "unknown", *PAIR_COUNTS)},
        # Each static draw masks the same tokens again; without static draws, masks are drawn during training.
        "masked_ratio": _ratio(counts.get("masked", 0), counts.get("tokens", 0) * draws),
        "unknown_ratio": _ratio(counts.get("unknown", 0), counts.get("tokens", 0)),
    }


def masks(stages: Sequence[Finished]) -> Table:
    """Return what masked tokens are replaced by, by set of shards. The intended ratios are 80, 10 and 10 %."""
    bars = {}
    for stage in stages:
        counts = counting.total(stage.manifest.get("counts", {}).values())
        if "shown_as_mask" in counts:
            hidden, same = counts["shown_as_mask"], counts.get("shown_as_is", 0)
            numbers = (hidden, same, counts.get("masked", 0) - hidden - same)
            bars[_name(stage)] = dict(zip(SHOWN_AS, numbers, strict=True))
    return stacks(bars, SHOWN_AS)


def masked_ratio(rows: Sequence[Row]) -> float | None:
    """Return the ratio of masked tokens over all shards; None if masks are drawn during training."""
    return _ratio(sum(row["masked"] for row in rows), sum(row["draws"] * row["tokens"] for row in rows))


def row_lengths(stages: Sequence[Finished]) -> dict[str, Any]:
    """Return the distribution of row lengths in train, in eighths of the longest, by set of shards."""
    panels: dict[str, Any] = {}
    for stage in stages:
        histogram = stage.manifest.get("length_histogram", {}).get("train", {})
        longest = stage.manifest["sequence_length"]
        bars = [0] * _BARS
        for length, rows in histogram.items():
            bars[(int(length) * _BARS - 1) // longest] += rows
        if total := sum(bars):
            bins = [longest * (number + 1) // _BARS for number in range(_BARS)]
            panels[_name(stage)] = {"bins": bins, "fractions": [rows / total for rows in bars]}
    return panels


def _name(stage: Finished) -> str:
    return f"{stage.manifest['source']} {stage.manifest['sequence_length']}"


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
