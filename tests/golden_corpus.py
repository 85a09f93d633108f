"""A small fixed corpus with every kind of source, and the digests of all data files that `prepare` writes for it.

The text is made by the generators of tests/corpus.py and tests/wiki_dumps.py and is the same on every machine. The examples of
the source `old` are the TFRecords of another prepared source. Manifests are no data: they hold URLs and names of stages.
"""

import bz2
import gzip
import hashlib
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from pipeline import storage
from pipeline.engine import stages
from pipeline.tfrecords.exchange import export_tfrecords
from pipeline.tokenization import vocabulary
from tests import corpus, wiki_dumps
from tests.wiki_dumps import Draft
from workflows import recipe
from workflows.chain import Chain

RECIPE = """
name = "golden"
validation_ratio = 0.1

[[source]]
name = "wiki"
kind = "wiki"
input = ["zhwiki.xml.bz2"]
priority = 2

[[source]]
name = "text"
kind = "text"
input = ["text"]
priority = 1

[[source]]
name = "news"
kind = "news"
input = ["news"]

[[source]]
name = "baike"
kind = "baike"
input = ["baike.json.gz"]

[[source]]
name = "reviews"
kind = "demo"
input = ["reviews"]

[filters]
min_characters = 10

[decontamination]
inputs = ["questions.txt"]

[vocabulary]
size = 3000

[masking]
static_draws = 2
"""
LENGTHS = (64, 128)


def data_files() -> dict[str, dict[str, str]]:
    """Return the SHA-256 of every data file by stage (without its key) and name, and one digest over all of them."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _write_inputs(root)
        content = tomllib.loads(RECIPE)
        for source in content["source"]:
            if source["kind"] != "demo":
                source["input"] = [str(root / name) for name in source["input"]]
        content["decontamination"]["inputs"] = [str(root / "questions.txt")]
        chain = Chain(recipe.build(content, "golden"), str(root / "data"), sequence_lengths=LENGTHS)
        pointer = chain.prepare()
        found = _digests(root / "data")
        found |= _imported(root, root / "data" / pointer.vocabulary, root / "data" / pointer.shards["text/64"])
    every = sorted(digest for files in found.values() for digest in files.values())
    return {"all": {"files": str(len(every)), "sha256": hashlib.sha256("\n".join(every).encode()).hexdigest()}, **found}


def _imported(root: Path, vocabulary_folder: Path, shards: Path) -> dict[str, dict[str, str]]:
    """Return the same for a source of kind `tfrecord`, made of the examples of another source."""
    vocab = vocabulary.load(stages.load(str(vocabulary_folder)))
    export_tfrecords(stages.load(str(shards)), vocab, str(root / "records"))
    content: dict[str, Any] = {
        "name": "golden",
        "source": [{"name": "old", "kind": "tfrecord", "input": [str(root / "records/train-*")]}],
        "vocabulary": {"url": str(vocabulary_folder / vocabulary.FILE)},
    }
    Chain(recipe.build(content, "old"), str(root / "imported"), sequence_lengths=LENGTHS[:1]).prepare()
    return {name: files for name, files in _digests(root / "imported").items() if "old" in name}


def _digests(root: Path) -> dict[str, dict[str, str]]:
    found = {}
    for folder in sorted(root.iterdir()):
        if (folder / stages.MANIFEST).exists():
            done = stages.load(str(folder))
            # A shard names the key of its stage, which changes with the name of a setting too.
            key = str(done.manifest["key"]).encode()
            content = {entry["name"]: storage.read_bytes(done.file(entry["name"])) for entry in done.manifest["files"]}
            found[done.name] = {
                name: hashlib.sha256(data.replace(key, b"0" * len(key))).hexdigest() for name, data in content.items()
            }
    return found


def _write_inputs(root: Path) -> None:
    corpus.write_text(root / "text", 240)
    corpus.write_news(root / "news", 120)
    texts = corpus.text_documents(3, 80)
    entries = [
        {"title": f"词条{number}", "summary": text.split("\n")[0], "sections": [{"title": "简介", "content": text}], "tags": []}
        for number, text in enumerate(texts)
    ]
    (root / "baike.json.gz").write_bytes(gzip.compress(corpus.json_lines(entries), mtime=0))
    (root / "zhwiki.xml.bz2").write_bytes(bz2.compress(wiki_dumps.xml(_pages())))
    # Sentences of documents, as an evaluation set would hold them.
    (root / "questions.txt").write_text("\n".join(text.replace("\n", "") for text in corpus.text_documents(1, 6)), "utf-8")


def _pages() -> list[Draft]:
    """Return articles with all kinds of markup, and the pages that they need."""
    heads = (
        "'''柏林'''是[[德国|德國]]的首都，{{formatnum:3769495}}人住在这里。\n\n== 历史 ==\n",
        "{{NoteTA|G1=IT}}\n这款軟體由-{zh-cn:史蒂夫; zh-tw:史蒂芬;}-编写。<ref>脚注</ref>\n\n",
        "{| class=wikitable\n| 表 || 格\n|}\n* 第一项\n* 第二项\n\n{{lang|de|Berlin}}约有{{convert|892|km2}}。\n\n",
        "{{bd|1879年|3月14日|1955年|4月18日}}，他研究<math>E = mc^2</math>。\n\n",
    )
    pages = [
        Draft(f"条目{number}", heads[number % len(heads)] + "\n\n".join(text.split("\n")))
        for number, text in enumerate(corpus.text_documents(4, 60))
    ]
    group = "return { name = 'IT', content = { { type = 'item', original = '軟體', rule = 'zh-cn:软件; zh-tw:軟體;' } } }"
    return [
        *pages,
        Draft("Module:CGroup/IT", group, namespace=828, model="Scribunto"),
        Draft("Template:数", "", namespace=10, redirect="Template:Formatnum"),
        Draft("旧名", "#REDIRECT [[条目1]]", redirect="条目1"),
    ]
