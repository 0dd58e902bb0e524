"""The gateway's side: a chat request and its response in, a request event without a word of either out.

    fingerprinter = Fingerprinter(Peppers(identity=secret, content=this_epochs_secret, epoch=7))
    request = fingerprinter.request("/v1/chat/completions", headers, body)
    response = fingerprinter.response(request)      # feed it the answer's bytes as they pass
    event = fingerprinter.finish(request, response, id=own_id, ts_ms=arrived, account=raw_account, ip=address)

Nothing here raises on what a client or a model wrote: an event holds what could be read, and no more.
"""

from __future__ import annotations

from streamproc.fingerprint.keyed import Peppers
from streamproc.fingerprint.prints import IDENTITIES, Fingerprinter, Request
from streamproc.fingerprint.stream import Response

__all__ = ["IDENTITIES", "Fingerprinter", "Peppers", "Request", "Response"]
