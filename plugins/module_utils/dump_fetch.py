"""Bringing a dump from the stores that have it, every file compared with the signed manifest."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timezone
from typing import Any, Mapping, Optional, Union

from . import buckets, dump_store, dumps
from .guards import PRECONDITION, Stop


class Fetch:
    """Bringing one dump from whatever store has its files."""

    def __init__(self, p: Mapping[str, Any]) -> None:
        self.p = p
        self.stores = [buckets.Bucket(store) for store in p["stores"]]
        self.signed: "list[str]" = []  # stores whose manifest of the dump in hand is good
        self.said: "list[str]" = []

    def hold(self, dump: str) -> None:
        """Keep the dump from expiring. A store that cannot take the note does not keep the restore from its work."""
        now = datetime.now(timezone.utc)
        failed = dump_store.hold(self.stores, self.p["service"], dump, self.p["run"], now, True)[1]
        self.said += ["Dump %s is not held in %s: %s" % (dump, *item) for item in sorted(failed.items())]

    def manifest(self, dump: str) -> "dict[str, Any]":
        """The manifest of a dump from the first store that has a good one, or why there is none."""
        found, failed = buckets.each(self.stores, lambda bucket: self._asked(bucket, dump))
        good = [answer for answer in found.values() if not isinstance(answer, str)]
        self.signed = [name for name, answer in found.items() if not isinstance(answer, str)]
        if good and all(answer == good[0] for answer in good):
            return good[0]
        said = {**failed, **{name: answer for name, answer in found.items() if isinstance(answer, str)}}
        raise Stop(
            "its stores hold different manifests" if good else "; ".join("%s: %s" % i for i in sorted(said.items())),
            PRECONDITION,
        )

    def _asked(self, bucket: buckets.Bucket, dump: str) -> "Union[dict[str, Any], str]":
        try:
            return dump_store.payload(bucket, self.p["service"], dump, self.p["public_keys"])
        except Stop as stop:
            return str(stop)

    def files(self, payload: "dict[str, Any]", root: str, wanted: "list[str]") -> "list[str]":
        """Bring files of the dump below `root`; one that is there and right is kept. The stores that were read whole."""
        if not self.p["alone"]:
            return self._bring(payload, root, wanted, self.stores)
        problems = []
        for bucket in [bucket for bucket in self.stores if bucket.name in self.signed]:
            shutil.rmtree(root, ignore_errors=True)  # what was brought from another store proves nothing of this one
            try:
                whole = self._bring(payload, root, wanted, [bucket])
            except Stop as stop:
                problems.append(str(stop))
                continue
            self.said += ["Dump %s is not whole in one store: %s" % (payload["id"], problem) for problem in problems]
            return whole
        raise Stop("no store has all of it: %s" % "; ".join(problems), PRECONDITION)

    def _bring(
        self, payload: "dict[str, Any]", root: str, wanted: "list[str]", places: "list[buckets.Bucket]"
    ) -> "list[str]":
        every = dumps.files(payload)
        jobs = {name: (lambda n=name: self._file(payload["id"], n, every[n], root, places)) for name in wanted}
        sources = set(buckets.many(jobs).values())
        return [name for name in self.signed if sources == {name} and set(wanted) == set(every)]

    def _file(
        self, dump: str, name: str, facts: "dict[str, Any]", root: str, places: "list[buckets.Bucket]"
    ) -> Optional[str]:
        """Bring one file: the store it came from, or None when it was there."""
        path = os.path.join(root, name)
        if os.path.exists(path) and buckets.file_digest(path) == facts:
            return None
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        key = dumps.folder(self.p["service"], dump) + name
        said = []
        for bucket in places:
            came, failed = buckets.each([bucket], lambda b: b.get(key, path + ".partial"))
            if came.get(bucket.name) == facts:
                os.replace(path + ".partial", path)
                return bucket.name
            said.append("%s: %s" % (bucket.name, failed.get(bucket.name, "it is not as it was written")))
        raise Stop("%s cannot be brought (%s)" % (name, "; ".join(said)), PRECONDITION)
