"""Small corpora, and their data stages. Generated text always; real text if it is on this machine.

`write_text(folder)` writes three files in the layouts that `text` reads, `write_news(folder)` one of JSON lines with HTML.
The generated sentences are made from a fixed list of words by a fixed generator: the same on every machine.
"""

import atexit
import functools
import hashlib
import json
import lzma
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import storage
from pipeline.config import CorpusConfig, FilterConfig, SourceConfig, VocabularyConfig
from pipeline.dedup.signatures import needed, signatures
from pipeline.dedup.stage import dedup
from pipeline.documents.stage import documents
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import Finished
from pipeline.examples.stage import shards as make_shards
from pipeline.tokenization.stage import tokens
from pipeline.tokenization.vocabulary import vocabulary

REAL = Path(__file__).parents[2] / "shared" / "data"
needs_real_data = pytest.mark.skipif(not REAL.exists(), reason="the real corpora are not here (../shared/data)")

WORDS = (  # noqa: SIM905
    "北京 上海 长江 大学 学生 老师 研究 科学 技术 经济 发展 改革 市场 公司 产品 质量 服务 酒店 房间 早餐 音乐 电影 历史 文化 "
    "国家 人民 政府 会议 报告 问题 方法 工作 生活 时间 今天 明天 春天 我们 他们 认为 提出 解决 喜欢 参观 学习 建设 开始 继续 "
    "NEZHA BERT 2019 很 也 都 正在 已经 非常 的 了 在 和 与"
).split()


def sentences(seed: int, number: int) -> list[str]:
    """Return `number` sentences of 4 to 14 words."""
    chance = random.Random(seed)
    return ["".join(chance.choices(WORDS, k=chance.randint(4, 14))) + chance.choice("。。。！？") for _ in range(number)]


def text_documents(seed: int, number: int) -> list[str]:
    """Return `number` documents of 2 to 9 sentences, one per line."""
    chance = random.Random(seed)
    return ["\n".join(sentences(chance.randrange(1 << 30), chance.randint(2, 9))) for _ in range(number)]


def write_text(folder: Path, number: int = 120) -> Path:
    """Write `number` documents into three files: separated by blank lines, JSON lines, and Windows line ends."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = text_documents(1, number)
    third = number // 3
    (folder / "a.txt").write_bytes("\n\n".join(texts[:third]).encode())
    (folder / "b.jsonl").write_bytes(json_lines({"text": text} for text in texts[third : 2 * third]))
    (folder / "c.txt").write_bytes("\r\n\r\n\r\n".join(t.replace("\n", "\r\n") for t in texts[2 * third :]).encode())
    return folder


def write_news(folder: Path, number: int = 60) -> Path:
    """Write `number` articles with HTML; every tenth repeats one of `write_text`, every twelfth is too short to keep."""
    folder.mkdir(parents=True, exist_ok=True)
    copies = text_documents(1, number)
    articles = []
    for index, text in enumerate(text_documents(2, number)):
        body = copies[index] if index % 10 == 0 else "短。" if index % 12 == 5 else text
        content = "".join(f"<p>{line}</p>" for line in body.split("\n"))
        articles.append({"news_id": str(index), "title": f"第{index}条新闻", "content": content, "url": f"http://n/{index}"})
    (folder / "news.jsonl").write_bytes(json_lines(articles))
    return folder


def write_real(folder: Path) -> tuple[Path, Path]:
    """Write the beginnings of a real text corpus and of real crawled news; return both folders."""
    text, news = folder / "text", folder / "news"
    text.mkdir(parents=True)
    news.mkdir(parents=True)
    whole = (REAL / "corpora/text/cluecorpussmall_bert_sample.txt").read_bytes()
    (text / "clue.txt").write_bytes(whole[: whole.index(b"\n\n", 150_000)])
    with lzma.open(REAL / "corpora/news/xinwenlianbo.jsonl.xz") as file:
        (news / "xinwenlianbo.jsonl").write_bytes(b"".join(file.readline() for _ in range(60)))
    return text, news


def json_lines(records: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def config(text: str, news: str, **changes: Any) -> CorpusConfig:
    """Return a text and a news source; the text source has the higher priority."""
    fields: dict[str, Any] = {
        "sources": (
            SourceConfig(name="text", kind="text", input=(text,), priority=1, licence="CC0-1.0"),
            SourceConfig(name="news", kind="news", input=(news,)),
        ),
        "sequence_lengths": (64,),
        "validation_ratio": 0.1,
        "filters": FilterConfig(min_characters=10),
        "vocabulary": VocabularyConfig(size=600, min_count=1),
    }
    return CorpusConfig(**{**fields, **changes})


def prepare(corpus: CorpusConfig, root: str, execution: Execution = SERIAL, task_bytes: int = 1 << 24) -> dict[str, Finished]:
    """Run all data stages of a corpus; return them by name."""
    read = [documents(source, root, execution=execution, task_bytes=task_bytes) for source in corpus.sources]
    signed = [
        signatures(source, done, corpus.dedup, root, execution=execution)
        for source, done in zip(corpus.sources, read, strict=True)
        if needed(corpus.dedup)
    ]
    filters = {source.name: corpus.filters for source in corpus.sources}
    decided = dedup(corpus.sources, read, signed, [], filters, corpus.dedup, (), root, execution=execution)
    vocab = vocabulary(read, decided, corpus.vocabulary, root, execution=execution)
    encoded = [
        tokens(source, done, decided, vocab, corpus, root, execution=execution)
        for source, done in zip(corpus.sources, read, strict=True)
    ]
    shards = [
        make_shards(source, length, done, vocab, corpus, root, execution=execution)
        for source, done in zip(corpus.sources, encoded, strict=True)
        for length in corpus.sequence_lengths
    ]
    return {stage.name: stage for stage in (*read, *signed, decided, vocab, *encoded, *shards)}


def digests(stages: dict[str, Finished]) -> dict[str, str]:
    """Return the SHA-256 of every file and manifest by folder and file name."""
    return {
        f"{storage.base_name(stage.url)}/{name}": hashlib.sha256(storage.read_bytes(stage.file(name))).hexdigest()
        for stage in stages.values()
        for name in ("manifest.json", *(entry["name"] for entry in stage.manifest["files"]))
    }


@functools.cache
def folder() -> Path:
    """Make the temporary folder for everything that this process prepares."""
    path = Path(tempfile.mkdtemp(prefix="nezha-pipe-corpus-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def generated() -> CorpusConfig:
    """Return sources of generated text."""
    return config(str(write_text(folder() / "text")), str(write_news(folder() / "news")))


@functools.cache
def real() -> CorpusConfig:
    """Return sources of real text, with the released vocabulary."""
    text, news = write_real(folder() / "real")
    return config(str(text), str(news), vocabulary=VocabularyConfig(url=str(REAL / "vocab/vocab.txt")))


@functools.cache
def prepared(which: str = "generated", workers: int = 1, task_bytes: int = 1 << 24) -> dict[str, Finished]:
    """Run the stages of one of the two, once for all tests of this process."""
    root = str(folder() / f"runs-{which}-{workers}-{task_bytes}")
    return prepare({"generated": generated, "real": real}[which](), root, Execution(workers), task_bytes)


def same_bytes(one: dict[str, Finished], other: dict[str, Finished], prefix: str) -> int:
    """Assert that the stages with this prefix are equal file by file; return the number of files."""
    left, right = (
        digests({name: stage for name, stage in stages.items() if name.startswith(prefix)}) for stages in (one, other)
    )
    assert left == right, next(name for name in {**left, **right} if left.get(name) != right.get(name))
    return len(left)


LAYOUTS = [
    pytest.param(("generated", 2, 1 << 24), id="two workers"),
    pytest.param(("generated", 1, 3_000), id="small tasks"),
    pytest.param(("real", 1, 20_000), id="real text, small tasks", marks=needs_real_data),
    pytest.param(("real", 2, 1 << 24), id="real text, two workers", marks=[needs_real_data, pytest.mark.slow]),
]
"""Other ways to divide the same work: arguments of `prepared`."""
