"""The store with the corpus and the registry: an S3 server of this machine, which can be away for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests import stores

BUCKET = "corpora"
INCOMING = f"s3://{BUCKET}/incoming"
DUMPS, NEWS = f"{INCOMING}/wiki", f"{INCOMING}/news"
DUMP = "incoming/wiki/zhwiki-latest-pages-articles.xml.bz2"
WITHDRAWN = f"s3://{BUCKET}/withdrawn.txt"
REGISTRY = f"s3://{BUCKET}/registry"


class Store:
    """An S3 server behind a proxy that can break all connections."""

    def __init__(self, proxy: stores.Proxy) -> None:
        self._proxy = proxy
        self.environment = {**stores.SETTINGS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
        self._client = _client(f"http://127.0.0.1:{proxy.server}")
        self._client.create_bucket(Bucket=BUCKET)

    def put(self, key: str, content: bytes) -> None:
        """Write an object, past the proxy."""
        self._client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def away(self, is_away: bool) -> None:
        """Break every connection from now on, or no more."""
        self._proxy.broken = is_away


@contextmanager
def served() -> Iterator[Store]:
    """Run a server with an empty bucket."""
    with stores.served() as proxy:
        yield Store(proxy)


def _client(url: str) -> Any:
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=stores.SETTINGS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=stores.SETTINGS["AWS_SECRET_ACCESS_KEY"],
        region_name=stores.SETTINGS["AWS_DEFAULT_REGION"],
    )
