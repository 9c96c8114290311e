# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.edge_encryption.clone.plugins.module_utils import _properties
from ansible_collections.edge_encryption.clone.plugins.module_utils._properties import Properties, PropertiesError, SecretNames


def edited(text, wanted, uncomment=True, encoding="iso-8859-1"):
    return _properties.edit(text.encode(encoding), "f", wanted, encoding, uncomment).content.decode(encoding)


@pytest.mark.parametrize(
    "text, values",
    [
        ("a=1", {"a": "1"}),
        ("a = 1\nb: 2\r\nc 3\rd", {"a": "1", "b": "2", "c": "3", "d": ""}),
        ("a = 1 \n", {"a": "1 "}),
        ("# a=1\n! b=2\n  # c=3\n\n", {}),
        ("a = 1, \\\n    2\n", {"a": "1, 2"}),
        ("a = 1\\\n# no comment\n", {"a": "1# no comment"}),
        ("# comment \\\na=1", {"a": "1"}),
        ("a\\ b\\=c = d\\u00e9\\t\\x\\\\", {"a b=c": "dé\tx\\"}),
        ("a=1\na=2\n", {"a": "2"}),
        ("a==1", {"a": "=1"}),
        ("A.b_C=1\n[]:2\n", {"A.b_C": "1", "[]": "2"}),
        ("a=12\\", {"a": "12"}),
        ("a=12\\\n", {"a": "12"}),
        ("# \\u12 = prose\na=1\n", {"a": "1"}),
        ("a=\\uD83D\\uDE00", {"a": "😀"}),
    ],
)
def test_values(text, values):
    assert Properties(text.encode("latin-1"), "f").values() == values


@pytest.mark.parametrize(
    "before, wanted, after",
    [
        ("a = 1\nb=2\n", {"b": "3"}, "a = 1\nb=3\n"),
        ("a\t:  1\r\n", {"a": "2"}, "a\t:  2\r\n"),
        ("a 1", {"a": "2"}, "a 2"),
        ("a 1", {"a": "=2"}, "a \\=2"),
        ("a", {"a": "2"}, "a = 2"),
        ("x=1\na", {"a": "2"}, "x=1\na=2"),
        ("a = 1, \\\n  2\nb = 3\n", {"a": "new"}, "a = new\nb = 3\n"),
        ("a=1\na=2\n", {"a": "3"}, "a=1\na=3\n"),
        ("a=1\nb=0\na=2\n", {"a": None}, "b=0\n"),
        ("", {"a": "1"}, "a = 1\n"),
        ("b=1", {"a": "1"}, "b=1\na=1"),
        ("b=1\r\n", {"a": "1", "c": "2"}, "b=1\r\na=1\r\nc=2\r\n"),
        ("b = 1 \\", {"a": "1"}, "a = 1\nb = 1 \\"),
        ("# a = default\nb = 1\n", {"a": "1"}, "a = 1\nb = 1\n"),
        ("  #a=\n", {"a": "1"}, "  a=1\n"),
        ("# a = 1\n# a = 2\n", {"a": "3"}, "# a = 1\na = 3\n"),
        ("# a = 1\na = 2\n", {"a": "3"}, "# a = 1\na = 3\n"),
        ("# a: prose\nb = 1\n", {"a": "3"}, "# a: prose\nb = 1\na = 3\n"),
        ("a=1\n", {"a": " é\n\\"}, "a=\\ \\u00E9\\n\\\\\n"),
        ("a=1\n", {"a": "jdbc:mysql://h:3306/e?a=b#c"}, "a=jdbc:mysql://h:3306/e?a=b#c\n"),
        ("a=é\nb=1\n", {"b": "2"}, "a=é\nb=2\n"),
        ("a=1\n", {"a": "~ }"}, "a=~ }\n"),
        ("a=1\n", {"a": "ł😀"}, "a=\\u0142\\uD83D\\uDE00\n"),
        ("\n", {"a": "1"}, "\na = 1\n"),
        ("a=1\n", {"b c": ""}, "a=1\nb\\ c=\n"),
    ],
)
def test_edits_touch_one_line_only(before, wanted, after):
    assert edited(before, wanted) == after
    assert edited(after, wanted) == after


def as_java_reads(text):
    """What java.util.Properties loads, in other words than the util's; ValueError where Java refuses the file."""
    rest, found = text, {}

    def next_line():
        nonlocal rest
        line, eol, rest = re.match(r"([^\r\n]*)(\r\n|\r|\n|)(.*)", rest, re.DOTALL).groups()
        return line.lstrip(" \t\f"), eol

    while rest:
        (line, eol), logical, ends_the_file = next_line(), "", False
        while line and not (logical == "" and line[0] in "#!"):
            continues = (len(line) - len(line.rstrip("\\"))) % 2
            logical += line[:-1] if continues else line
            ends_the_file = continues and not rest and eol != "\r\n"  # then Java takes even an empty line for an entry
            line, eol = next_line() if continues else ("", "")
        if logical or ends_the_file:
            key, value = re.fullmatch(r"((?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*(.*)", logical).groups()
            found[unescaped(key)] = unescaped(value)
    return found


def unescaped(text):
    def one(match):
        if match[1] == "u":
            raise ValueError(text)
        return chr(int(match[1][1:], 16)) if match[1][0] == "u" else {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}.get(match[1], match[1])

    return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", one, text)


@given(st.lists(st.sampled_from([*"ab#!=: \t\f\\\r\nuA~", "\\\n", "\r\n", "\\u0041"]), max_size=14).map("".join))
@settings(max_examples=400, deadline=None)
def test_any_file_is_read_and_edited_as_java_would_have_it(text):
    try:
        expected = as_java_reads(text)
    except ValueError:
        with pytest.raises(PropertiesError, match="malformed"):
            Properties(text.encode(), "f")
        return
    assert Properties(text.encode(), "f").values() == expected
    for name in [name for name in expected if name] + ["new"]:
        for value in ("Z", None):
            wanted = {key: entry for key, entry in dict(expected, **{name: value}).items() if entry is not None}
            assert as_java_reads(edited(text, {name: value})) == wanted


def test_commented_default_stays_without_uncomment():
    assert edited("# a = 1\n", {"a": "2"}, uncomment=False) == "# a = 1\na = 2\n"


def test_utf8_is_read_as_such_and_written_in_ascii():
    assert Properties("a=é".encode(), "f", "utf-8").values() == {"a": "é"}
    assert edited("a=é\nb=1\n", {"b": "ü"}, encoding="utf-8") == "a=é\nb=\\u00FC\n"
    with pytest.raises(PropertiesError, match="byte 2 is not valid utf-8"):
        Properties(b"a=\xe9", "f", "utf-8")


def test_malformed_escape_names_the_line():
    with pytest.raises(PropertiesError, match="line 3 holds a malformed"):
        Properties(b"a=1\r\n\r\nb=\\u12\n", "f")


def test_empty_name_is_refused():
    with pytest.raises(PropertiesError, match="needs a name"):
        edited("", {"": "1"})


def test_duplicates():
    assert Properties(b"a=1\nb=1\na=2\n", "f").duplicates() == ["a"]


@pytest.mark.parametrize(
    "name",
    [
        "edgeencryption.db.password",
        "x.PassPhrase",
        "client_secret",
        "edgeencryption.encrypter.static.iv",
        "edgeencryption.customer.assigned.known.cleartext",
    ],
)
def test_secret_names(name):
    assert SecretNames().mask(name, "x") == "********"
    assert SecretNames().mask(name, "") == "" and SecretNames().mask(name, None) is None


def test_more_secret_names():
    names = SecretNames(["^edge.*user$"])
    assert "edgeencryption.db.user" in names and "edgeencryption.db.name" not in names and "db.password" in names
    with pytest.raises(PropertiesError, match="not a regular expression"):
        SecretNames(["("])


def test_diff_shows_that_a_secret_changed_but_not_what_it_was():
    edit = _properties.edit(b"db.password = old\na = 1\nb = 2\n", "f", {"db.password": "new", "a": None, "b": "3"}, "iso-8859-1", True)
    diff = edit.diff(SecretNames(), "f")
    assert diff["before"] == "db.password = ********\na = 1\nb = 2\n"
    assert diff["after"] == "db.password = ******** (changed)\nb = 3\n"


def test_verify_sees_a_write_that_did_not_arrive():
    edit = _properties.edit(b"a=1\n", "f", {"a": "2"}, "iso-8859-1", True)
    with pytest.raises(PropertiesError, match="not as wanted: a"):
        edit.verify(b"a=1\n")


@pytest.mark.parametrize("value, text", [(True, "true"), (False, "false"), (443, "443"), ("x", "x")])
def test_scalars(value, text):
    assert _properties.to_text(value, "n") == text


@pytest.mark.parametrize("value", [None, [], {}])
def test_no_scalars(value):
    with pytest.raises(PropertiesError, match="must be a string"):
        _properties.to_text(value, "n")


def test_fingerprint_depends_on_salt_and_value():
    found = {_properties.fingerprint(salt, value) for salt in ("s", "t") for value in ("a", "b")}
    assert len(found) == 4 and all(len(item) == 64 for item in found)
    assert _properties.fingerprint("s", "a") in found
