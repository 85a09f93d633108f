"""Versions that must be the same on all machines."""

from collections.abc import Iterator, Mapping

from cluster.checking.findings import Finding, together

OURS = "nezha-pipe"
DECIDING = ("jieba", "opencc", "selectolax", "tokenizers")
"""Packages that decide which bytes `prepare` writes."""
PACKAGES = ("ray", "torch", OURS, *DECIDING)

Versions = Mapping[str, str | None]
"""The version of `python` and of each package; None if it is missing."""


def judge(here: Versions, there: Mapping[str, Versions], shipped: bool) -> Iterator[Finding]:
    """Compare the versions on hosts with those here.

    `shipped`: whether a run brings our package with it, as one from a checkout does.
    """
    problems = {}
    for host, versions in there.items():
        differing = [name for name in ("python", *PACKAGES) if public(versions.get(name)) != public(here.get(name))]
        if shipped and OURS in differing:
            differing.remove(OURS)
            text = (
                f"{shown(OURS, versions)}, here {here.get(OURS) or 'none'}: what is started here brings its own, not so there"
            )
            yield Finding("warning", "versions", text, (host,))
        if differing:
            pairs = "; ".join(f"{shown(name, versions)}, here {here.get(name) or 'none'}" for name in differing)
            problems[host] = f"{pairs}: {_what_breaks(differing)}; install what is here"
    for hosts, problem in together(problems):
        yield Finding("error", "versions", problem, hosts)
    if there and not problems:
        named = ", ".join(shown(name, here) for name in ("python", "ray", "torch", OURS) if here.get(name))
        yield Finding("ok", "versions", f"the same versions everywhere: {named}, and of what decides the bytes of prepare")


def public(version: str | None) -> str | None:
    """A version without its build: `2.13.0+cpu` -> `2.13.0`. A head without GPUs may have another build."""
    return version and version.partition("+")[0]


def shown(name: str, versions: Versions) -> str:
    """`torch 2.13.0+cpu`, or `no torch`."""
    title = {"python": "Python", "ray": "Ray"}.get(name, name)
    return f"{title} {versions[name]}" if versions.get(name) else f"no {title}"


def _what_breaks(differing: list[str]) -> str:
    if any(name in differing for name in ("python", "ray", OURS)):
        return "no run can work there"
    return "training cannot" if "torch" in differing else "prepare would write other bytes there"
