"""The client software, from its User-Agent: one table of families."""

from __future__ import annotations

import re
from functools import lru_cache

# What the header holds (lower case), the family; the first that matches counts.
FAMILIES = (
    ("claude-cli/", "claude-code"),
    ("codex_", "codex"),
    ("geminicli/", "gemini-cli"),
    ("opencode/", "opencode"),
    ("cline/", "cline"),
    ("cursor/", "cursor"),
    ("githubcopilot", "copilot"),
    ("litellm/", "litellm"),
    ("langchain", "langchain"),
    ("asyncopenai/python ", "openai-python"),
    ("openai/python ", "openai-python"),
    ("openai/js ", "openai-node"),
    ("openai-go", "openai-go"),
    ("asyncanthropic/python ", "anthropic-python"),
    ("anthropic/python ", "anthropic-python"),
    ("anthropic/js ", "anthropic-node"),
    ("google-genai-sdk/", "google-genai"),
    ("boto3/", "boto3"),
    ("aws-sdk", "aws-sdk"),
    ("python-requests/", "python-requests"),
    ("python-httpx/", "python-httpx"),
    ("aiohttp/", "aiohttp"),
    ("python-urllib", "python-urllib"),
    ("go-http-client/", "go-http"),
    ("okhttp/", "okhttp"),
    ("axios/", "axios"),
    ("node-fetch", "node-fetch"),
    ("undici", "undici"),
    ("apache-httpclient/", "apache-httpclient"),
    ("java/", "java"),
    ("curl/", "curl"),
    ("wget/", "wget"),
    ("postmanruntime/", "postman"),
    ("reqwest", "reqwest"),
    ("edg/", "edge"),
    ("firefox/", "firefox"),
    ("chrome/", "chrome"),
    ("version/", "safari"),
)
_VERSION = re.compile(r"[ /v]*(\d+(?:\.\d+){0,3}(?:-?(?:alpha|beta|rc)\.?\d*)?)", re.IGNORECASE)
MOST_CHARS = 512


@lru_cache(maxsize=1024)
def client(user_agent: str) -> tuple[str, str]:
    """Family and version; both empty where there is no header, `other` for a family that the table lacks."""
    header = user_agent[:MOST_CHARS].lower()
    if not header.strip():
        return "", ""
    for mark, family in FAMILIES:
        at = header.find(mark)
        if at >= 0:
            found = re.compile(r"[^\s/]*").match(header, at)
            end = at + len(mark) if mark[-1] in "/ " else (found.end() if found else at)
            version = _VERSION.match(header, end)
            return family, version[1][:32] if version else ""
    return "other", ""
