"""Peer of `prepare/deduplicated`: datatrove, from JSON lines to JSON lines of filtered, unique documents, in one process.

    python peer_deduplicated.py jieba in/ work/          {"documents": 9120, "duplicates": 829, "kept": 7408}
    python peer_deduplicated.py characters in/ work/     the same, with single characters as words

The steps of FineWeb-2 (https://github.com/huggingface/fineweb-2, fineweb-2-pipeline.py), in its order and with its thresholds
for Chinese (configs/cmn_Hani.yml): MinHash with 14 buckets of 8 hashes over 5 words, then the filters of Gopher and FineWeb.
Steps that would only cost time here are left out: files are not compressed, dropped documents are not written, and filters run
directly on the output of the last MinHash step. Language identification, ftfy and PII removal are left out too.

Words are datatrove's for Chinese (spaCy with jieba). With `characters` the peer does as little as ours: no word segmentation,
and the filters count n-grams 5/3 as long, as ours do.
"""
# mypy: disable-error-code="import-not-found"

import json
import sys
from pathlib import Path
from typing import Any

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.logging import logger
from datatrove.utils.word_tokenizers import WordTokenizer, load_tokenizer_assignments

LANGUAGE = "cmn_Hani"
STOP_WORDS = [*"的年在月是和日了於·為有被人中为他與後也而由"]
REPEATED = {5: 0.198, 6: 0.182, 7: 0.167, 8: 0.154, 9: 0.14, 10: 0.127}
TOP = {2: 0.256, 3: 0.201, 4: 0.171}


class Characters(WordTokenizer):  # type: ignore[misc]  # datatrove is in the peers' environment alone
    """Treats every character except white space as a word."""

    def word_tokenize(self, text: str) -> list[str]:
        return list("".join(text.split()))

    def sent_tokenize(self, text: str) -> list[str]:
        raise NotImplementedError

    span_tokenize = sent_tokenize


def main(words: str, inputs: str, work: str) -> None:
    logger.remove()
    if words == "characters":
        load_tokenizer_assignments()[LANGUAGE] = Characters
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    reader = JsonlReader(inputs, text_key="content", glob_pattern="*.jsonl")
    signed, matched, removed = (f"{work}/{name}" for name in ("signatures", "buckets", "remove_ids"))
    run(work, reader, MinhashDedupSignature(signed, config, LANGUAGE))
    run(work, MinhashDedupBuckets(signed, matched, config=config), tasks=config.num_buckets)
    run(work, MinhashDedupCluster(matched, removed, config=config))
    writer = JsonlWriter(f"{work}/kept", compression=None)
    sifted = filters(5 / 3 if words == "characters" else 1)
    folder = run(work, reader, MinhashDedupFilter(removed), *sifted, writer)
    read, single, *_, written = (step["stats"] for step in json.loads((Path(folder) / "stats.json").read_text()))
    counts = {"documents": read["documents"]["total"], "duplicates": single.get("dropped", 0), "kept": written["total"]}
    print(json.dumps(counts))


def run(work: str, *steps: Any, tasks: int = 1) -> str:
    """Run an executor in this process. Return the folder with its statistics."""
    folder = f"{work}/logs-{type(steps[-1]).__name__}"
    LocalPipelineExecutor(list(steps), tasks=tasks, workers=1, logging_dir=folder).run()
    return folder


def filters(scale: float) -> list[Any]:
    """Return the filters of FineWeb-2, with the n of its n-grams multiplied by `scale`."""
    top, repeated = (tuple((round(n * scale), ratio) for n, ratio in table.items()) for table in (TOP, REPEATED))
    off = {"dup_para_frac": 0, "dup_line_char_frac": 0, "dup_para_char_frac": 0}
    return [
        GopherRepetitionFilter(language=LANGUAGE, dup_line_frac=0.287, top_n_grams=top, dup_n_grams=repeated, **off),
        FineWebQualityFilter(
            language=LANGUAGE, short_line_thr=999, char_duplicates_ratio=0.1, line_punct_thr=0.106, new_line_ratio=0.178
        ),
        GopherQualityFilter(
            language=LANGUAGE,
            min_avg_word_length=1,
            max_avg_word_length=5,
            stop_words=STOP_WORDS,
            max_non_alpha_words_ratio=0.735,
            min_stop_words=2,
        ),
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])
