"""The class of an e-mail domain: by its ending, by the few that everybody uses, by a list of throw-away ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from streamproc.ingest.networks import SUFFIXES, rows_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Mail"]

PUBLIC: Final = frozenset((
    "gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "msn.com", "yahoo.com", "ymail.com",
    "icloud.com", "me.com", "mac.com", "aol.com", "gmx.com", "gmx.de", "gmx.net", "web.de", "mail.com", "mail.ru",
    "yandex.com", "yandex.ru", "qq.com", "163.com", "126.com", "sina.com", "foxmail.com", "naver.com", "daum.net",
    "proton.me", "protonmail.com", "pm.me", "zoho.com", "fastmail.com", "tutanota.com", "orange.fr", "free.fr",
    "laposte.net", "libero.it", "t-online.de", "comcast.net", "rediffmail.com",
))  # fmt: skip
EDUCATION: Final = re.compile(r"\.(?:edu|ac)(?:\.[a-z]{2})?$")
DISPOSABLE: Final = "disposable_email_domains"


class Mail:
    """Knows the throw-away domains of a folder, if it has a list of them (`disposable_email_domains.csv`).

    Raises:
        InputError: the list cannot be read.
    """

    def __init__(self, folder: Path | None) -> None:
        self._disposable: frozenset[str] | None = None
        for file in sorted(folder.iterdir()) if folder and folder.is_dir() else ():
            if file.name.startswith(DISPOSABLE) and file.name.endswith(SUFFIXES):
                self._disposable = frozenset(row["domain"].strip().lower() for _, row in rows_of(file, "domain"))

    def class_of(self, email: str) -> str:
        """`email_class` of an address or domain; empty for what is neither.

        Without a list of throw-away domains none is told from a company's: both are unknown.
        """
        domain = email.rpartition("@")[2].strip().strip(".").lower()
        if "." not in domain:
            return ""
        labels = domain.split(".")
        above = {".".join(labels[at:]) for at in range(len(labels) - 1)}
        if domain in PUBLIC:
            return "public"
        if self._disposable is not None and above & self._disposable:
            return "disposable"
        if EDUCATION.search(domain):
            return "education"
        return "unknown" if self._disposable is None else "corporate"
