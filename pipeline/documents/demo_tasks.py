"""The stage `tasks`: fine-tuning and evaluation files from the embedded corpus."""

import hashlib
from collections.abc import Iterator, Sequence

from pipeline import storage
from pipeline.cleaning.cleaning import fingerprint
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.engine.stages import run as run_stage
from pipeline.sources.demo import PARTS, Article, Review, Split, files, read_news, read_reviews

STAGE_VERSION = 1


_ENTITIES = {"nr": "PER", "ns": "LOC", "nt": "ORG"}


_MAX_TAGGED = 120


def tagged_sentences(article: Article) -> Iterator[list[tuple[str, str]]]:
    """Yield sentences as lists of (character, BIO tag). Adjacent person names are a surname and a given name: 江/nr 泽民/nr."""
    for paragraph in article.paragraphs:
        sentence: list[tuple[str, str]] = []
        previous = ""
        for word, tag in paragraph:
            entity = _ENTITIES.get(tag)
            joined = tag == "nr" and previous == "nr" and len(word) <= 2
            for position, character in enumerate(word):
                begins = position == 0 and not joined
                sentence.append((character, f"{'B' if begins else 'I'}-{entity}" if entity else "O"))
            # 江/nr 泽民/nr 李/nr 鹏/nr are two persons: after a given name a new one starts.
            previous = "" if joined else tag
            if word in "。！？；" or (word == "，" and len(sentence) > _MAX_TAGGED // 2) or len(sentence) > _MAX_TAGGED:
                yield sentence
                sentence, previous = [], ""
        if sentence:
            yield sentence


def tasks(root: str, *, execution: Execution = SERIAL) -> Finished:
    """The stage `tasks`: files to fine-tune and score on, in the layouts of ChnSentiCorp and of People's Daily NER."""
    inputs = {
        name: storage.sha256(name_path) for part in PARTS for name, name_path in zip(PARTS[part], files(part), strict=True)
    }
    return run_stage(root, Stage("tasks", STAGE_VERSION, {}, inputs), _write_tasks, execution)


def _write_tasks(folder: str) -> dict[str, object]:
    news, reviews = read_news(), _unambiguous(read_reviews())
    entries, counts = [], {}
    for split in ("train", "dev", "test"):
        rows = ["label\ttext_a"]
        rows += [f"{int(r.positive)}\t{' '.join(r.text.split())}" for side, r in reviews if side == split]
        sentences = [s for side, article in news if side == split for s in tagged_sentences(article)]
        blocks = ["\n".join(f"{character} {tag}" for character, tag in sentence) for sentence in sentences]
        for name, text in ((f"sentiment/{split}.tsv", "\n".join(rows)), (f"entities/{split}.txt", "\n\n".join(blocks))):
            storage.write_bytes(storage.join(folder, name), (text + "\n").encode())
            entries.append(FileEntry.of(folder, name))
        counts[split] = {"sentiment": len(rows) - 1, "entities": len(sentences)}
    return {"files": entries, "counts": counts}


def _unambiguous(reviews: Sequence[tuple[Split, Review]]) -> list[tuple[Split, Review]]:
    """Return each distinct review once, ordered by a hash; reviews that occur with both labels are left out."""
    labels: dict[bytes, set[bool]] = {}
    for _, review in reviews:
        labels.setdefault(fingerprint(review.text), set()).add(review.positive)
    unique = {fingerprint(review.text): (split, review) for split, review in reversed(reviews)}
    chosen = [unique[key] for key in unique if len(labels[key]) == 1]
    return sorted(chosen, key=lambda item: hashlib.blake2b(item[1].text.encode(), digest_size=8).digest())
