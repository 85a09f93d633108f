"""What may be shown: URLs without secrets, and text that moves no cursor."""

import json
import pickle

import pytest

from pipeline import redaction, storage
from pipeline.errors import StorageError, UserError
from pipeline.redaction import printable, public, redact, without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:secret@a.cn/news.jsonl", "http://a.cn/news.jsonl"),
        ("http://secret@a.cn:8080/news.jsonl", "http://a.cn:8080/news.jsonl"),
        ("http://me:s/e@c#ret@a.cn/n", "http://a.cn/n"),
        ("s3://key:secret@bucket/a/b#1.jsonl", "s3://bucket/a/b#1.jsonl"),
        ("https://b.s3.cn/n.gz?X-Amz-Date=1&X-Amz-Credential=a%2Fb&X-Amz-Signature=9f", "https://b.s3.cn/n.gz"),
        ("https://b.cn/n.gz?versionId=3&X-Amz-Signature=9f", "https://b.cn/n.gz?versionId=3"),
        ("https://a.blob.cn/n?sv=2024&sp=r&sig=secret", "https://a.blob.cn/n"),
        ("http://a.cn/n?token=secret&file=b.jsonl", "http://a.cn/n?file=b.jsonl"),
        ("http://a.cn/n?anysecretwithoutname", "http://a.cn/n"),
        ("http://a.cn/n?raw", "http://a.cn/n?raw"),
        ("simplecache::https://me:secret@a.cn/n?sig=secret", "simplecache::https://a.cn/n"),
        ("http://me:se[cret@a.cn/n", "http://***"),
        ("hf://datasets/user/name@main/a.jsonl", "hf://datasets/user/name@main/a.jsonl"),
        ("s3://bucket/news?.jsonl", "s3://bucket/news?.jsonl"),
        ("http://a.cn:8080/user@place", "http://a.cn:8080/user@place"),
        ("/data/me:secret@place?token=1", "/data/me:secret@place?token=1"),
        ("file:///data/a?b=c", "file:///data/a?b=c"),
        ("runs/a", "runs/a"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redact(url) == redact(shown) == shown
    assert redact(f"read {url}: not found (see {url}).") == f"read {shown}: not found (see {shown})."


@pytest.mark.timeout(60)  # well under a second; quadratic time would be hours
def test_a_long_word_is_no_scheme() -> None:
    word = "a" * 1_000_000
    assert redact(f"{word} http://me:secret@a.cn/n {word}") == f"{word} http://a.cn/n {word}"


def test_what_a_library_says_is_shown_without_the_secrets_of_the_url() -> None:
    url = "s3://AKIA12:s%2Fcret%3D@bucket/a?token=b1946ac9"
    message = f'Invalid bucket name "AKIA12:s/cret=@bucket", b1946ac9, s%2Fcret%3D; see {url}'
    assert without_secrets(message, url) == 'Invalid bucket name "***@bucket", ***, ***; see s3://bucket/a'


def test_settings_are_shown_without_secrets_wherever_they_are() -> None:
    settings = {"input": ["http://me:secret@a.cn/n", 3], "http://x:secret@b.cn": {"deep": ("http://c.cn?token=secret", None)}}
    shown = {"input": ["http://a.cn/n", 3], "http://b.cn": {"deep": ["http://c.cn", None]}}
    assert public(settings) == shown


def test_every_error_is_shown_so_and_travels_between_processes() -> None:
    error = StorageError("http://me:secret@a.cn/\x1b[2Jn\u202e.jsonl: 403")
    assert str(error) == "http://a.cn/\\u001b[2Jn\\u202e.jsonl: 403"
    assert str(pickle.loads(pickle.dumps(error))) == str(UserError(str(error))) == str(error)


def test_characters_that_a_terminal_obeys_are_escaped_and_chinese_is_not() -> None:
    text = "新闻\u3000（1）\n\t\x1b]0;标题\x07\x9b31m\u2028\u200e\udc80\U000e0041é"
    shown = "新闻\u3000（1）\n\t\\u001b]0;标题\\u0007\\u009b31m\\u2028\\u200e\\udc80\\udb40\\udc41é"
    assert printable(text) == shown
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text


def test_names_of_files_have_no_secrets() -> None:
    assert storage.base_name("http://a.cn/news.jsonl?token=a/b") == "news.jsonl"
    assert redaction.secrets_in("http://a.cn/news.jsonl") == []
