"""The captions of a report's figures on data. They state numbers and do not interpret them.

3,000 of 3,101 records are kept (96.7%), with 1,436,680 of 1,484,191 characters (96.8%). Most often dropped: ...
15.04% of the tokens are masked: 79.9% shown as [MASK], 10.0% as themselves, 10.1% as another token.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.dedup.overview import SIMILARITIES
from workflows.report.languages.texts import ENGLISH, Texts
from workflows.report.shard_figures import SHOWN_AS

MOST_REASONS = 3


def captions(content: Mapping[str, Any], t: Texts = ENGLISH) -> dict[str, str]:
    """Return the caption of each figure, in the language of `t`; empty if there is nothing to say."""
    result = {
        "funnel": _funnel(t, content["total"], content["ledger"]["documents"]),
        "mixture": _largest(t, content["sources"]),
        "changes": _changed(t, content["changes"], content["total"]["documents"]),
        "duplicates": _duplicates(t, content["duplicates"], content["total"]),
        "cluster_sizes": _cluster_sizes(t, content["duplicates"]["cluster_sizes"]),
        "kept_samples": _kept_samples(t, content["kept_samples"], content["total"]),
        "frequent_lines": _frequent_lines(t, content["frequent"]),
        "frequent_titles": _frequent_titles(t, content["frequent"]),
        "thresholds": _thresholds(t, content["thresholds"], content["duplicates"]["lines_removed"]),
        "document_lengths": _fullest(t, content["document_lengths"]),
        "languages": _parts(t, content["languages"]),
        "scripts": _parts(t, content["scripts"]),
        "unknown_characters": _unknown(t, content["tokens"]),
        "masks": _masks(content["masked_ratio"], content["masks"], t),
        "row_lengths": _longest(t, content["row_lengths"]),
        "time": _time(t, content["time"]["data"]),
    }
    for wiki in content["wikis"]:
        result |= {f"wiki_{wiki['source']}": _templates(t, wiki), f"wiki_broken_{wiki['source']}": _broken(t, wiki)}
    return result


def _funnel(t: Texts, total: Mapping[str, Any], ledger: Sequence[Mapping[str, Any]]) -> str:
    if not ledger:
        return t("No record was read.")
    before, after = total["characters"]["documents"], total["characters"]["kept"]
    records = {"kept": total["kept"], "read": total["read"], "ratio": total["kept_ratio"]}
    if before:
        caption = t(
            "{kept:,} of {read:,} records are kept ({ratio:.1%}), with {after:,} of {before:,} characters ({share:.1%}).",
            **records,
            after=after,
            before=before,
            share=after / before,
        )
    else:
        caption = t("{kept:,} of {read:,} records are kept ({ratio:.1%}).", **records)
    losses = sorted((row for row in ledger if row["kind"] == "loss"), key=lambda row: -row["all"])
    most = t.listed(f"{t.name(row['name'])} {row['all']:,}" for row in losses[:MOST_REASONS])
    return f"{caption} " + (t("Most often dropped: {most}.", most=most) if most else t("Nothing was dropped."))


def _largest(t: Texts, sources: Sequence[Mapping[str, Any]]) -> str:
    known = [row for row in sources if row["fraction"] is not None]
    if not known:
        return ""
    largest = max(known, key=lambda row: row["fraction"])
    return t(
        "Sources of the kept text. {source} has {fraction:.1%} of the characters.",
        source=largest["source"],
        fraction=largest["fraction"],
    )


def _changed(t: Texts, changes: Mapping[str, Any], documents: int) -> str:
    if not changes["rows"] or not documents:
        return ""
    first = changes["rows"][0]
    return t(
        "Most frequent: {rule}, in {number:,} of {documents:,} documents ({ratio:.1%}).",
        rule=t.name(first["name"]),
        number=first["all"],
        documents=documents,
        ratio=first["all"] / documents,
    )


def _duplicates(t: Texts, duplicates: Mapping[str, Any], total: Mapping[str, Any]) -> str:
    dropped = t.listed(f"{t.name(reason)} {number:,}" for reason, number in duplicates["dropped"].items())
    parts = [t("No duplicates were found.")]
    if dropped:
        parts = [t("Dropped out of {documents:,} documents: {dropped}.", documents=total["documents"], dropped=dropped)]
    if duplicates["clusters"]:
        parts.append(t("{number:,} kept documents had duplicates.", number=duplicates["clusters"]))
    if duplicates["lines_removed"]:
        parts.append(
            t(
                "{lines:,} repeated lines ({characters:,} characters, {ratio:.1%}) were removed from kept documents.",
                lines=duplicates["lines_removed"],
                characters=duplicates["characters_removed"],
                ratio=duplicates["characters_removed"] / total["characters"]["documents"],
            )
        )
    return " ".join(parts)


def _cluster_sizes(t: Texts, sizes: Mapping[str, int]) -> str:
    if not sizes:
        return ""
    largest = int(max(sizes, key=int))
    return t(
        "Clusters of duplicates by number of documents, the kept one included. The largest has {largest:,}.", largest=largest
    )


def _thresholds(t: Texts, thresholds: Mapping[str, Any], removed: int) -> str:
    parts = [
        t(
            "How many more documents (+) or fewer (−) would be dropped if one threshold alone were half or twice its value."
            " Counted exactly, before duplicates are dropped."
        )
    ]
    shown = {*thresholds["unchanged"], *(row["name"] for row in thresholds["rows"])}
    if shown.intersection(SIMILARITIES):
        parts.append(
            t(
                "similarity and containment are ratios: at half and at twice their distance from 1 (the ratio in brackets),"
                " what a run with it would drop as duplicates, before repeated lines are removed."
            )
        )
    if removed:
        parts.append(
            t(
                "Of {removed:,} repeated lines removed, at least {below:,} would stay at twice min_paragraph_characters;"
                " at half, more would be removed: those lines are not compared.",
                removed=removed,
                below=thresholds["removed_lines_below_twice"],
            )
        )
    return " ".join(parts)


def _kept_samples(t: Texts, groups: Sequence[Mapping[str, Any]], total: Mapping[str, Any]) -> str:
    return t(
        "{number:,} of {kept:,} kept documents, chosen by the recipe's seed, without their repeated lines.",
        number=sum(len(group["documents"]) for group in groups),
        kept=total["kept"],
    )


def _frequent_lines(t: Texts, frequent: Mapping[str, Any]) -> str:
    return t(
        "Lines too short to be removed as repeated, in documents of several lines, whatever their punctuation."
        " Each number may be too low by up to {missed:,}: a line is counted where two documents of a part have it.",
        missed=frequent["lines_missed"],
    )


def _frequent_titles(t: Texts, frequent: Mapping[str, Any]) -> str:
    values = {"titles": frequent["repeated_titles"], "documents": frequent["documents_with_repeated_titles"]}
    if missed := frequent["titles_missed"]:
        return t(
            "At least {documents:,} kept documents share {titles:,} titles; with so many titles, each number may be too low by"
            " up to {missed:,}.",
            **values,
            missed=missed,
        )
    return t("{documents:,} kept documents share {titles:,} titles, counted exactly.", **values)


def _fullest(t: Texts, lengths: Mapping[str, Any]) -> str:
    parts = [t("Documents as read, by number of characters. Each bar is labelled with its lower bound.")]
    for source, fractions in lengths["panels"].items():
        most = max(range(len(fractions)), key=fractions.__getitem__)
        parts.append(
            t(
                "Largest bin of {source}: from {bound:,} characters, {fraction:.1%}.",
                source=source,
                bound=lengths["bins"][most],
                fraction=fractions[most],
            )
        )
    return " ".join(parts)


def _parts(t: Texts, table: Mapping[str, Any]) -> str:
    """Documents as read: 96.5% Chinese, 2.1% English. (over all sources)"""
    sums = [sum(row["numbers"][place] for row in table["rows"]) for place in range(len(table["names"]))]
    parts = [
        t("{fraction:.1%} {name}", fraction=number / sum(sums), name=t.name(name))
        for name, number in zip(table["names"], sums, strict=True)
    ]
    return t("Documents as read: {parts}.", parts=t.listed(parts)) if parts else ""


def _unknown(t: Texts, tokens: Sequence[Mapping[str, Any]]) -> str:
    if not tokens or not tokens[-1]["tokens"]:
        return t("By frequency in the text.")
    last = tokens[-1]
    return t(
        "{unknown:,} of {tokens:,} tokens are [UNK] ({ratio:.3%}).",
        unknown=last["unknown"],
        tokens=last["tokens"],
        ratio=last["unknown_ratio"],
    )


def _masks(masked_ratio: float | None, masks: Mapping[str, Any], t: Texts = ENGLISH) -> str:
    if not masked_ratio or not masks["rows"]:
        return ""
    shown: dict[str, int] = dict.fromkeys(SHOWN_AS, 0)  # in a small corpus, some may not occur
    for row in masks["rows"]:
        for name, number in zip(masks["names"], row["numbers"], strict=True):
            shown[name] += number
    hidden, same, other = shown.values()
    whole = hidden + same + other
    return t(
        "{masked:.2%} of the tokens are masked: {hidden:.1%} shown as [MASK], {same:.1%} as themselves, {other:.1%} as another"
        " token.",
        masked=masked_ratio,
        hidden=hidden / whole,
        same=same / whole,
        other=other / whole,
    )


def _longest(t: Texts, panels: Mapping[str, Mapping[str, Any]]) -> str:
    parts = [t("Training rows by number of tokens. Each bar is labelled with its upper bound.")]
    last = {name: panel["fractions"][-1] for name, panel in panels.items()}
    if len(last) > 1:
        least, most = min(last, key=last.__getitem__), max(last, key=last.__getitem__)
        parts.append(
            t(
                "In the longest bin: from {low:.1%} ({least}) to {high:.1%} ({most}).",
                low=last[least],
                least=least,
                high=last[most],
                most=most,
            )
        )
    else:
        parts += [t("In the longest bin: {fraction:.1%}.", fraction=fraction) for fraction in last.values()]
    return " ".join(parts)


def _templates(t: Texts, wiki: Mapping[str, Any]) -> str:
    lost, kept = (sum(row["number"] for row in wiki[name]) for name in ("templates_lost", "templates_kept"))
    return t(
        "{templates:,} dropped templates are listed; they contained {lost:,} characters. Templates were replaced by their text"
        " {kept:,} times. The kept text has {characters:,} characters.",
        templates=len(wiki["templates_lost"]),
        lost=lost,
        kept=kept,
        characters=wiki["characters"],
    )


def _broken(t: Texts, wiki: Mapping[str, Any]) -> str:
    dropped = next((row["number"] for row in wiki["left_out"] if row["name"] == "broken_sentence"), 0)
    number = t("Sentences that cannot do without what was dropped from them: {number:,}.", number=wiki["broken_sentences"])
    became = t("They were dropped, with {dropped:,} characters.", dropped=dropped) if dropped else t("They were kept.")
    return f"{number} {became}"


def _time(t: Texts, data: Mapping[str, Any]) -> str:
    if not data["seconds"] or not data["text_bytes"]:
        return ""
    megabytes = data["text_bytes"] / 1e6
    return t(
        "From files to shards: {seconds:,.1f} s for {megabytes:,.1f} MB of text, {rate:,.2f} MB per second, counting 3 bytes"
        " per character.",
        seconds=data["seconds"],
        megabytes=megabytes,
        rate=megabytes / data["seconds"],
    )
