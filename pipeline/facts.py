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
            sentences=counts["sentences"],
            units=counts["units"],
            tokens=counts["tokens"],
            unknown_characters=stage.manifest["unknown_characters"],
            words_never_found=stage.manifest["words_never_found"],
        )


@dataclass(frozen=True)
class ShardsFacts:
    """The stage `shards_<source>_<length>`."""

    rows: Mapping[str, int]
    """By split."""
    tokens: Mapping[str, int]
    """By split."""

    @classmethod
    def of(cls, stage: Finished) -> "ShardsFacts":
        by_split = stage.manifest["counts"]
        return cls(
            rows={split: counts["rows"] for split, counts in by_split.items()},
            tokens={split: counts["tokens"] for split, counts in by_split.items()},
        )
