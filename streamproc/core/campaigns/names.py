"""Accounts' ids as bytes of one buffer: a third of what as many Python strings take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamproc.core.columns import Columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from streamproc.core.arrays import Array, Ints, Rows

WASTE = 1 << 20  # bytes of forgotten ids at least, before the buffer is written anew without them
AT_ONCE = 1 << 16  # names written anew at once: bounds the memory of their positions


class Names:
    """A text by row, up to 65,535 bytes of UTF-8; the empty one where none was put or it was dropped."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._columns = Columns({"start": (np.int64, ()), "length": (np.uint16, ())})
        self._wasted = 0

    def __len__(self) -> int:
        return self._columns.rows

    def __getitem__(self, row: int) -> str:
        start, length = int(self._start[row]), int(self._length[row])
        return self._text[start : start + length].decode()

    def __iter__(self) -> Iterator[str]:
        for start, length in zip(self._start.tolist(), self._length.tolist(), strict=True):
            yield self._text[start : start + length].decode()

    def put(self, rows: Rows, names: Sequence[str]) -> None:
        """Give `rows`, which have none, their names; rows beyond the last are made."""
        held = len(self)
        self._columns.extend(max(0, int(np.max(rows, initial=-1)) + 1 - held))
        self._length[held:] = 0
        encoded = [name.encode() for name in names]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        self._start[rows] = len(self._text) + np.cumsum(lengths) - lengths
        self._length[rows] = lengths
        self._text += b"".join(encoded)

    def drop(self, rows: Rows) -> None:
        """Forget the names of `rows`."""
        self._wasted += int(np.sum(self._length[rows]))
        self._length[rows] = 0
        if self._wasted > max(WASTE, len(self._text) // 2):
            self._text, self._wasted = self._packed(), 0
            self._start[:] = self._packed_starts()

    def arrays(self) -> dict[str, Array]:
        """The state as arrays, for a snapshot."""
        return {"length": self._columns["length"], "text": np.frombuffer(self._packed(), np.uint8)}

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Take the state that `arrays()` gave."""
        self._text, self._wasted = bytearray(arrays["text"].tobytes()), 0
        self._columns.load({"length": arrays["length"], "start": np.zeros(arrays["length"].size, np.int64)})
        self._start[:] = self._packed_starts()

    @property
    def _start(self) -> Ints:
        return self._columns["start"].view(np.int64)

    @property
    def _length(self) -> Ints:
        return self._columns["length"].view(np.uint16)

    def _packed(self) -> bytearray:
        """All names in order of row, without what was forgotten."""
        packed, text = bytearray(), np.frombuffer(self._text, np.uint8)
        for row in range(0, len(self), AT_ONCE):
            lengths = self._length[row : row + AT_ONCE].astype(np.int64)
            at = np.repeat(self._start[row : row + AT_ONCE] - (np.cumsum(lengths) - lengths), lengths)
            packed += text[at + np.arange(at.size)].tobytes()
        return packed

    def _packed_starts(self) -> Ints:
        """Where each name begins when they stand in order of row."""
        lengths = self._length.astype(np.int64)
        return np.cumsum(lengths) - lengths
