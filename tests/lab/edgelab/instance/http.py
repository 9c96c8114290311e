# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests and replies between the web server and the APIs, free of aiohttp so that a batch can call the APIs too."""

from __future__ import annotations

import dataclasses
import json
import typing as t
import urllib.parse
from xml.sax.saxutils import escape

if t.TYPE_CHECKING:
    from .acl import Caller

JSON = "application/json;charset=UTF-8"
HTML = "text/html;charset=UTF-8"
XML = "application/xml;charset=UTF-8"


class Problem(Exception):
    """A request that the platform answers with an error body."""

    def __init__(self, status: int, message: str, detail: str | None = None, headers: t.Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, detail)
        self.status = status
        self.message = message
        self.detail = detail
        self.headers = dict(headers or {})


@dataclasses.dataclass
class Reply:
    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Call:
    """One request to an API."""

    method: str
    path: str
    query_string: str
    headers: t.Mapping[str, str]  # names in lower case
    body: bytes
    caller: Caller | None = None

    def __post_init__(self) -> None:
        self.query: dict[str, str] = dict(urllib.parse.parse_qsl(self.query_string, keep_blank_values=True))

    @property
    def user(self) -> Caller:
        assert self.caller is not None, "only public paths have no caller"
        return self.caller

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() == "true"

    def number(self, name: str, default: int) -> int:
        text = self.query.get(name, "")
        if not text:
            return default
        if not text.lstrip("-").isdigit():
            raise Problem(400, "Invalid value for {}".format(name), "{} is not a number".format(text))
        return int(text)

    def form(self) -> dict[str, str]:
        text = self.body.decode("utf-8", "replace")
        return dict(urllib.parse.parse_qsl(text, keep_blank_values=True))

    def json_body(self) -> dict[str, t.Any]:
        """Return the payload of a write: a JSON object, or the one record of an XML request."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if self.body and not kind:
            raise Problem(400, "Exception while reading request", "Content-Type header is missing")
        if kind in ("application/xml", "text/xml"):
            return from_xml(self.body)
        if kind not in ("", "application/json", "text/json"):
            raise Problem(415, "Unsupported media type", "Content-Type {} is not supported".format(kind))
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            raise Problem(400, "Exception while reading request", "The payload is not valid JSON.") from None
        if isinstance(value, list):  # only the first record counts
            value = value[0] if value else {}
        if not isinstance(value, dict):
            raise Problem(400, "Exception while reading request", "The payload is not a JSON object.")
        return value

    def reply(self, status: int, value: t.Any, headers: t.Mapping[str, str] | None = None) -> Reply:
        """Return a value in the format that the client accepts."""
        accepted = [part.partition(";")[0].strip().lower() for part in self.headers.get("accept", "*/*").split(",")]
        if any(kind in ("*/*", "application/*", "application/json", "text/json", "") for kind in accepted):
            return json_reply(status, value, headers)
        if any(kind in ("application/xml", "text/xml") for kind in accepted):
            text = '<?xml version="1.0" encoding="UTF-8"?><response>{}</response>'.format(to_xml(value))
            return Reply(status, text.encode("utf-8"), XML, dict(headers or {}))
        raise Problem(406, "Not acceptable", "Accept {} is not supported".format(self.headers["accept"]))


def json_reply(status: int, value: t.Any, headers: t.Mapping[str, str] | None = None) -> Reply:
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    return Reply(status, body, JSON, dict(headers or {}))


def problem_reply(problem: Problem) -> Reply:
    error = {"error": {"message": problem.message, "detail": problem.detail}, "status": "failure"}
    return json_reply(problem.status, error, problem.headers)


def html_reply(status: int, title: str, content: str = "", headers: t.Mapping[str, str] | None = None) -> Reply:
    text = "<html><head><title>{}</title></head><body>{}</body></html>".format(escape(title), content or escape(title))
    return Reply(status, text.encode("utf-8"), HTML, dict(headers or {}))


def to_xml(value: t.Any) -> str:
    if isinstance(value, dict):
        return "".join(
            "".join("<{0}>{1}</{0}>".format(name, to_xml(item)) for item in (content if isinstance(content, list) else [content]))
            for name, content in value.items()
        )
    return escape("" if value is None else str(value))


def from_xml(body: bytes) -> dict[str, t.Any]:
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        raise Problem(400, "Exception while reading request", "The payload is not valid XML.") from None
    entry = root.find("entry")
    return {child.tag: child.text or "" for child in (root if entry is None else entry)}
