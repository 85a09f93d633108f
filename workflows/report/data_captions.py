"""The captions of a report's figures on data. They state numbers and do not interpret them.

3,000 of 3,101 records are kept (96.7%), with 1,436,680 of 1,484,191 characters (96.8%). Most often dropped: ...
15.04% of the tokens are masked: 79.9% shown as [MASK], 10.0% as themselves, 10.1% as another token.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from workflows.report.display_names import display_name
from workflows.report.shard_figures import SHOWN_AS

MOST_REASONS = 3


def captions(content: Mapping[str, Any]) -> dict[str, str]:
    """Return the caption of each figure; empty if there is nothing to say."""
    result = {
        "funnel": _funnel(content["total"], content["ledger"]["documents"]),
        "mixture": _largest(content["sources"]),
        "changes": _changed(content["changes"], content["total"]["documents"]),
        "duplicates": _duplicates(content["duplicates"], content["total"]),
        "cluster_sizes": _cluster_sizes(content["duplicates"]["cluster_sizes"]),
        "document_lengths": _fullest(content["document_lengths"]),
        "languages": _parts(content["languages"]),
        "scripts": _parts(content["scripts"]),
        "unknown_characters": _unknown(content["tokens"]),
        "masks": _masks(content["masked_ratio"], content["masks"]),
        "row_lengths": _longest(content["row_lengths"]),
        "time": _time(content["time"]["data"]),
    }
    return result | {f"wiki_{wiki['source']}": _templates(wiki) for wiki in content["wikis"]}


def _funnel(total: Mapping[str, Any], ledger: Sequence[Mapping[str, Any]]) -> str:
    if not ledger:
        return "No record was read."
    before, after = total["characters"]["documents"], total["characters"]["kept"]
    caption = f"{total['kept']:,} of {total['read']:,} records are kept ({total['kept_ratio']:.1%})"
    caption += f", with {after:,} of {before:,} characters ({after / before:.1%})." if before else "."
    losses = sorted((row for row in ledger if row["kind"] == "loss"), key=lambda row: -row["all"])
    most = ", ".join(f"{display_name(row['name'])} {row['all']:,}" for row in losses[:MOST_REASONS])
    return caption + (f" Most often dropped: {most}." if most else " Nothing was dropped.")


def _largest(sources: Sequence[Mapping[str, Any]]) -> str:
    known = [row for row in sources if row["fraction"] is not None]
    if not known:
        return ""
    largest = max(known, key=lambda row: row["fraction"])
    return f"Sources of the kept text. {largest['source']} has {largest['fraction']:.1%} of the characters."


def _changed(changes: Mapping[str, Any], documents: int) -> str:
    if not changes["rows"] or not documents:
        return ""
    first = changes["rows"][0]
    changed = f"{first['all']:,} of {documents:,} documents ({first['all'] / documents:.1%})"
    return f"Most frequent: {display_name(first['name'])}, in {changed}."


def _duplicates(duplicates: Mapping[str, Any], total: Mapping[str, Any]) -> str:
    dropped = ", ".join(f"{display_name(reason)} {number:,}" for reason, number in duplicates["dropped"].items())
    caption = f"Dropped out of {total['documents']:,} documents: {dropped}." if dropped else "No duplicates were found."
    if duplicates["clusters"]:
        caption += f" {duplicates['clusters']:,} kept documents had duplicates."
    if duplicates["lines_removed"]:
        characters = duplicates["characters_removed"]
        ratio = characters / total["characters"]["documents"]
        caption += f" {duplicates['lines_removed']:,} repeated lines ({characters:,} characters, {ratio:.1%})"
        caption += " were removed from kept documents."
    return caption


def _cluster_sizes(sizes: Mapping[str, int]) -> str:
    if not sizes:
        return ""
    largest = max(sizes, key=int)
    return f"Clusters of duplicates by number of documents, the kept one included. The largest has {int(largest):,}."


def _fullest(lengths: Mapping[str, Any]) -> str:
    caption = "Documents as read, by number of characters. Each bar is labelled with its lower bound."
    for source, fractions in lengths["panels"].items():
        most = max(range(len(fractions)), key=fractions.__getitem__)
        caption += f" Largest bin of {source}: from {lengths['bins'][most]:,} characters, {fractions[most]:.1%}."
    return caption


def _parts(table: Mapping[str, Any]) -> str:
    """Documents as read: 96.5% Chinese, 2.1% English. (over all sources)"""
    sums = [sum(row["numbers"][place] for row in table["rows"]) for place in range(len(table["names"]))]
    parts = [f"{number / sum(sums):.1%} {display_name(name)}" for name, number in zip(table["names"], sums, strict=True)]
    return f"Documents as read: {', '.join(parts)}." if parts else ""


def _unknown(tokens: Sequence[Mapping[str, Any]]) -> str:
    if not tokens or not tokens[-1]["tokens"]:
        return "By frequency in the text."
    last = tokens[-1]
    return f"{last['unknown']:,} of {last['tokens']:,} tokens are [UNK] ({last['unknown_ratio']:.3%})."


def _masks(masked_ratio: float | None, masks: Mapping[str, Any]) -> str:
    if not masked_ratio or not masks["rows"]:
        return ""
    shown: dict[str, int] = dict.fromkeys(SHOWN_AS, 0)  # in a small corpus, some may not occur
    for row in masks["rows"]:
        for name, number in zip(masks["names"], row["numbers"], strict=True):
            shown[name] += number
    hidden, same, other = shown.values()
    whole = hidden + same + other
    caption = f"{masked_ratio:.2%} of the tokens are masked: {hidden / whole:.1%} shown as [MASK]"
    return f"{caption}, {same / whole:.1%} as themselves, {other / whole:.1%} as another token."


def _longest(panels: Mapping[str, Mapping[str, Any]]) -> str:
    caption = "Training rows by number of tokens. Each bar is labelled with its upper bound."
    last = {name: panel["fractions"][-1] for name, panel in panels.items()}
    if len(last) > 1:
        least, most = min(last, key=last.__getitem__), max(last, key=last.__getitem__)
        return f"{caption} In the longest bin: from {last[least]:.1%} ({least}) to {last[most]:.1%} ({most})."
    return caption + "".join(f" In the longest bin: {fraction:.1%}." for fraction in last.values())


def _templates(wiki: Mapping[str, Any]) -> str:
    lost, kept = (sum(row["number"] for row in wiki[name]) for name in ("templates_lost", "templates_kept"))
    caption = f"{len(wiki['templates_lost']):,} dropped templates are listed; they contained {lost:,} characters."
    caption += f" Templates were replaced by their text {kept:,} times."
    return f"{caption} The kept text has {wiki['characters']:,} characters."


def _time(data: Mapping[str, Any]) -> str:
    if not data["seconds"] or not data["text_bytes"]:
        return ""
    megabytes = data["text_bytes"] / 1e6
    return (
        f"From files to shards: {data['seconds']:,.1f} s for {megabytes:,.1f} MB of text, "
        f"{megabytes / data['seconds']:,.2f} MB per second, counting 3 bytes per character."
    )
