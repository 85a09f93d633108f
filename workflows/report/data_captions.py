"""The sentences under a report's pictures of data, made from its figures. They tell the numbers and claim nothing.

3,000 of 3,101 records are kept (96.7%), with 1,436,680 of 1,484,191 characters (96.8%). The largest losses: ...
Predicted: 15.04% of the tokens. Of these 79.9% are shown as [MASK], 10.0% as themselves, 10.1% as another token.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from workflows.report.display_names import words
from workflows.report.shard_figures import SHOWN_AS

MOST_REASONS = 3


def captions(content: Mapping[str, Any]) -> dict[str, str]:
    """A sentence or two under each picture; empty where there is nothing to tell."""
    told = {
        "funnel": _funnel(content["total"], content["ledger"]["documents"]),
        "mixture": _largest(content["sources"]),
        "changes": _changed(content["changes"], content["total"]["documents"]),
        "copies": _copies(content["copies"], content["total"]),
        "cluster_sizes": _cluster_sizes(content["copies"]["cluster_sizes"]),
        "document_lengths": _fullest(content["document_lengths"]),
        "languages": _parts(content["languages"]),
        "scripts": _parts(content["scripts"]),
        "unknown_characters": _unknown(content["tokens"]),
        "masks": _masks(content["masked_share"], content["masks"]),
        "row_lengths": _longest(content["row_lengths"]),
        "time": _time(content["time"]["data"]),
    }
    return told | {f"wiki_{wiki['source']}": _templates(wiki) for wiki in content["wikis"]}


def _funnel(total: Mapping[str, Any], ledger: Sequence[Mapping[str, Any]]) -> str:
    if not ledger:
        return "No record was read."
    before, after = total["characters"]["documents"], total["characters"]["kept"]
    told = f"{total['kept']:,} of {total['read']:,} records are kept ({total['kept_share']:.1%})"
    told += f", with {after:,} of {before:,} characters ({after / before:.1%})." if before else "."
    losses = sorted((row for row in ledger if row["kind"] == "loss"), key=lambda row: -row["all"])
    most = ", ".join(f"{words(row['name'])} {row['all']:,}" for row in losses[:MOST_REASONS])
    return told + (f" The largest losses: {most}." if most else " Nothing was lost.")


def _largest(sources: Sequence[Mapping[str, Any]]) -> str:
    known = [row for row in sources if row["share"] is not None]
    if not known:
        return ""
    largest = max(known, key=lambda row: row["share"])
    return f"Kept documents and their characters and tokens. {largest['source']} has {largest['share']:.1%} of the characters."


def _changed(changes: Mapping[str, Any], documents: int) -> str:
    if not changes["rows"] or not documents:
        return ""
    first = changes["rows"][0]
    return (
        f"Most often: {words(first['name'])}, in {first['all']:,} of {documents:,} documents ({first['all'] / documents:.1%})."
    )


def _copies(copies: Mapping[str, Any], total: Mapping[str, Any]) -> str:
    told = ", ".join(f"{words(reason)} {number:,}" for reason, number in copies["dropped"].items())
    told = f"Dropped of {total['documents']:,} documents: {told}." if told else "No copy was found."
    if copies["clusters"]:
        told += f" {copies['clusters']:,} documents stay for their copies."
    if copies["lines_out"]:
        share = copies["characters_out"] / total["characters"]["documents"]
        told += f" {copies['lines_out']:,} repeated lines ({copies['characters_out']:,} characters, {share:.1%})"
        told += " are taken out of documents that stay."
    return told


def _cluster_sizes(sizes: Mapping[str, int]) -> str:
    if not sizes:
        return ""
    largest = max(sizes, key=int)
    return f"Documents that stay, by how many there were of each, itself included. The largest cluster has {int(largest):,}."


def _fullest(lengths: Mapping[str, Any]) -> str:
    told = "Documents as read, by number of characters; a bar ends where the next begins."
    for source, shares in lengths["panels"].items():
        most = max(range(len(shares)), key=shares.__getitem__)
        told += f" Fullest of {source}: from {lengths['bins'][most]:,} on, {shares[most]:.1%}."
    return told


def _parts(table: Mapping[str, Any]) -> str:
    """Documents as read: 96.5% Chinese, 2.1% English. (over all sources)"""
    sums = [sum(row["numbers"][place] for row in table["rows"]) for place in range(len(table["names"]))]
    parts = [f"{number / sum(sums):.1%} {words(name)}" for name, number in zip(table["names"], sums, strict=True)]
    return f"Documents as read: {', '.join(parts)}." if parts else ""


def _unknown(tokens: Sequence[Mapping[str, Any]]) -> str:
    if not tokens or not tokens[-1]["tokens"]:
        return "By how often they stand in the text."
    last = tokens[-1]
    return f"{last['unknown']:,} of {last['tokens']:,} tokens are unknown ({last['unknown_share']:.3%})."


def _masks(share: float | None, masks: Mapping[str, Any]) -> str:
    if not share or not masks["rows"]:
        return ""
    shown: dict[str, int] = dict.fromkeys(SHOWN_AS, 0)  # of a small corpus, some may not occur
    for row in masks["rows"]:
        for name, number in zip(masks["names"], row["numbers"], strict=True):
            shown[name] += number
    hidden, same, other = shown.values()
    whole = hidden + same + other
    told = f"Predicted: {share:.2%} of the tokens. Of these {hidden / whole:.1%} are shown as [MASK]"
    return f"{told}, {same / whole:.1%} as themselves, {other / whole:.1%} as another token."


def _longest(panels: Mapping[str, Mapping[str, Any]]) -> str:
    told = "Training rows by number of tokens, in eighths of the longest; the number under a bar is its most."
    last = {name: panel["shares"][-1] for name, panel in panels.items()}
    if len(last) > 1:
        least, most = min(last, key=last.__getitem__), max(last, key=last.__getitem__)
        return f"{told} In the last eighth: from {last[least]:.1%} ({least}) to {last[most]:.1%} ({most})."
    return told + "".join(f" In the last eighth: {share:.1%}." for share in last.values())


def _templates(wiki: Mapping[str, Any]) -> str:
    lost, kept = (sum(row["number"] for row in wiki[name]) for name in ("templates_lost", "templates_kept"))
    told = f"{len(wiki['templates_lost']):,} templates that are dropped are listed; they held {lost:,} characters."
    return f"{told} Others gave their text {kept:,} times. The text that stays has {wiki['characters']:,} characters."


def _time(data: Mapping[str, Any]) -> str:
    if not data["seconds"] or not data["text_bytes"]:
        return ""
    megabytes = data["text_bytes"] / 1e6
    return (
        f"From files to shards: {data['seconds']:,.1f} s for {megabytes:,.1f} MB of text, "
        f"{megabytes / data['seconds']:,.2f} MB a second. Text is counted with 3 bytes a character."
    )
