"""What later stages and pages read from the manifests of data stages, as typed views.

    facts = DocumentsFacts.of(finished)
    f"{facts.kept:,} of {facts.read:,} records"

A view holds only what is used elsewhere; `nezha-pipe inspect` shows the whole manifest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.engine.stages import Finished


@dataclass(frozen=True)
class DocumentsFacts:
    """The stage `documents_<source>`."""

    source: str
    parts: int
    """Number of ranges of ids; a range without documents has no file."""
    read: int
    """Records."""
    skipped: int
    bad: int
    kept: int
    characters: int

    @classmethod
    def of(cls, stage: Finished) -> "DocumentsFacts":
        counts = stage.manifest["counts"]
        return cls(
            source=stage.source,
            parts=stage.manifest["parts"],
            read=counts["read"],
            skipped=sum(stage.manifest["skipped"].values()),
            bad=counts["bad"],
            kept=counts["kept"],
            characters=counts["characters"],
        )


@dataclass(frozen=True)
class DedupFacts:
    """The stage `dedup`."""

    documents: Mapping[str, int]
    """By source."""
    kept: Mapping[str, int]
    """By source."""
    withdrawn_not_found: int

    @classmethod
    def of(cls, stage: Finished) -> "DedupFacts":
        by_source = stage.manifest["counts"]
        return cls(
            documents={source: counts["documents"] for source, counts in by_source.items()},
            kept={source: counts["kept"] for source, counts in by_source.items()},
            withdrawn_not_found=stage.manifest["comparison"]["withdrawn_not_found"],
        )


@dataclass(frozen=True)
class VocabularyFacts:
    """The stage `vocabulary`: which tokens, and how text becomes them. Shards repeat these facts, field by field."""

    size: int
    sha256: str
    do_lower_case: bool
    map_punctuation: bool

    @classmethod
    def of(cls, stage: Finished) -> "VocabularyFacts":
        manifest = stage.manifest
        return cls(manifest["size"], manifest["sha256"], manifest["do_lower_case"], manifest["map_punctuation"])


@dataclass(frozen=True)
class TokensFacts:
    """The stage `tokens_<source>`."""

    source: str
    sentences: int
    units: int
    """Words, or single tokens outside of words: what is masked as a whole."""
    tokens: int
    unknown_characters: Mapping[str, int]
    """The most frequent characters without a token."""
    words_never_found: Sequence[str]
    """Entries of user dictionaries that no text can have."""

    @classmethod
    def of(cls, stage: Finished) -> "TokensFacts":
        counts = stage.manifest["counts"]
        return cls(
            source=stage.source,
            sentences=counts["sentences"],
            units=counts["units"],
            tokens=counts["tokens"],
            unknown_characters=stage.manifest["unknown_characters"],
            words_never_found=stage.manifest["words_never_found"],
        )


@dataclass(frozen=True)
class ShardsFacts:
    """The stage `shards_<source>_<length>`."""

    source: str
    sequence_length: int
    rows: Mapping[str, int]
    """By split."""
    tokens: Mapping[str, int]
    """By split."""
    static_draws: int
    """Masks stored for each row; 0 = masks are drawn in training."""
    pair_task: str
    vocabulary_sha256: str

    @classmethod
    def of(cls, stage: Finished) -> "ShardsFacts":
        manifest = stage.manifest
        return cls(
            source=stage.source,
            sequence_length=manifest["sequence_length"],
            rows={split: counts["rows"] for split, counts in manifest["counts"].items()},
            tokens={split: counts["tokens"] for split, counts in manifest["counts"].items()},
            static_draws=manifest["masking"]["static_draws"],
            pair_task=manifest["pairs"]["task"],
            vocabulary_sha256=manifest["vocabulary"]["sha256"],
        )
