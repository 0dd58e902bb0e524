"""The formats, by name."""

from __future__ import annotations

from typing import Final

from streamproc.ingest.formats.apim import APIM
from streamproc.ingest.formats.apisix import APISIX
from streamproc.ingest.formats.bedrock import BEDROCK
from streamproc.ingest.formats.envoy import ENVOY
from streamproc.ingest.formats.kong import KONG
from streamproc.ingest.formats.litellm import LITELLM
from streamproc.ingest.formats.otlp import OTLP

__all__ = ["FORMATS"]

FORMATS: Final = {one.name: one for one in (LITELLM, OTLP, ENVOY, KONG, APISIX, BEDROCK, APIM)}
