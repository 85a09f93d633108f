"""Run `dedup` on a few texts and read its files, for tests."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline import storage
from pipeline.config import DecontaminationConfig, DedupConfig, FilterConfig, SourceConfig
from pipeline.dedup.decontamination import contamination
from pipeline.dedup.kept import kept_documents
from pipeline.dedup.signatures import needed, signatures
from pipeline.dedup.stage import dedup as dedup_stage
from pipeline.engine.execution import Execution
from pipeline.engine.stages import Finished
from tests.made_documents import made, plainly

GOOD = "北京大学的学生今天参观了科学技术博物馆"
LINE = "本文由某某翻译小组的译者原创编译，在某某中国网站荣誉推出，转载时请注明作者和出处以及译者的名字"
Texts = dict[str, list[str] | dict[str, str]]


def decide(
    root: Path,
    texts: Texts,
    *,
    priorities: dict[str, int] | None = None,
    withdrawn: list[int] | None = None,
    evaluation: tuple[str, ...] = (),
    filters: dict[str, Any] | None = None,
    workers: int = 1,
    parts: int = 4,
    seed: int = 0,
    **dedup: Any,
) -> Finished:
    """Run `dedup` on sources of texts, with all filters off except those given."""
    sources = [SourceConfig(name=name, kind="text", priority=(priorities or {}).get(name, 0)) for name in texts]
    documents = [made(str(root), name, content, parts) for name, content in texts.items()]
    config, leaks = DedupConfig(**dedup), DecontaminationConfig(inputs=evaluation)
    off = {"judge_from_characters": 10**9, "min_characters": 1, "min_chinese_ratio": 0.0, "languages": ()}
    bounds = dict.fromkeys(texts, FilterConfig(**{**off, **(filters or {})}))
    execution = Execution(workers, executor=None if workers > 1 else plainly)
    both = list(zip(sources, documents, strict=True))
    signed = [signatures(s, d, config, str(root), execution=execution) for s, d in both if needed(config)]
    found = [contamination(s, d, leaks, str(root), execution=execution) for s, d in both if evaluation]
    removed = withdrawn or []
    return dedup_stage(
        sources,
        documents,
        signed,
        found,
        bounds,
        config,
        removed,
        str(root),
        decontamination=leaks,
        seed=seed,
        execution=execution,
    )


def rows(stage: Finished, source: str, kind: str = "dropped") -> list[dict[str, Any]]:
    with storage.open_read(stage.file(f"{kind}_{source}.parquet")) as file:
        found: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return found


def reasons(stage: Finished, source: str) -> dict[int, str]:
    return {row["id"]: row["reason"] for row in rows(stage, source)}


def kept_texts(root: Path, stage: Finished, source: str, texts: Texts) -> dict[int, str]:
    documents = made(str(root), source, texts[source])
    tables = [kept_documents(documents, stage, entry["name"]) for entry in documents.files("part-")]
    return {row["id"]: row["text"] for table in tables for row in table.to_pylist()}


def changed(text: str, *places: int) -> str:
    """Return the text with the characters in some places replaced."""
    for place in places:
        text = text[:place] + "囍" + text[place + 1 :]
    return text
