# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The judge of edge_property is Java itself: what java.util.Properties loads from a file before and after an edit.

javaproperties is a second one wherever it agrees with Java about the file as it was: it takes a backslash at the end of a file, and a comment
sign behind a continued empty line, for something else.
"""

import os
import pathlib
import shutil
import struct
import subprocess
import typing as t

import javaproperties
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.edge_encryption.clone.plugins.module_utils import _properties

JUDGE = r"""
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;

public class Judge {
    public static void main(String[] args) throws IOException {
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out));
        while (true) {
            int mode = in.read();
            if (mode < 0) {
                return;
            }
            byte[] data = new byte[in.readInt()];
            in.readFully(data);
            Properties properties = new Properties();
            try {
                if (mode == 'u') {
                    properties.load(new InputStreamReader(new ByteArrayInputStream(data), StandardCharsets.UTF_8));
                } else {
                    properties.load(new ByteArrayInputStream(data));
                }
                out.writeInt(properties.size());
                for (Map.Entry<Object, Object> entry : properties.entrySet()) {
                    for (Object text : new Object[] {entry.getKey(), entry.getValue()}) {
                        out.writeInt(((String) text).length() * 2);
                        out.writeChars((String) text);
                    }
                }
            } catch (IllegalArgumentException malformed) {
                out.writeInt(-1);
            }
            out.flush();
        }
    }
}
"""


class Java:
    """A running JVM that loads properties."""

    def __init__(self, folder: pathlib.Path) -> None:
        javac = shutil.which("javac")
        assert javac, "javac is missing: install openjdk-17-jdk-headless; without Java these tests prove nothing"
        (folder / "Judge.java").write_text(JUDGE)
        subprocess.run([javac, "-d", str(folder), str(folder / "Judge.java")], check=True)
        java = os.path.join(os.path.dirname(javac), "java")
        self._process = subprocess.Popen([java, "-Xshare:auto", "-cp", str(folder), "Judge"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def load(self, data: bytes, encoding: str = "iso-8859-1") -> t.Optional[t.Dict[str, str]]:
        """Return what Java loads, or None when it refuses the file."""
        self._process.stdin.write((b"u" if encoding == "utf-8" else b"l") + struct.pack(">I", len(data)) + data)
        self._process.stdin.flush()
        count = self._number()
        return None if count < 0 else {self._text(): self._text() for _unused in range(count)}

    def close(self) -> None:
        self._process.stdin.close()
        assert self._process.wait(10) == 0
        self._process.stdout.close()

    def _number(self) -> int:
        return struct.unpack(">i", self._process.stdout.read(4))[0]

    def _text(self) -> str:
        return self._process.stdout.read(self._number()).decode("utf-16-be", "surrogatepass")


@pytest.fixture(scope="module")
def java(tmp_path_factory):
    judge = Java(tmp_path_factory.mktemp("judge"))
    yield judge
    judge.close()


NAMES = ["a", "key", "edge.proxy.port", "k y", "k=", "#k", "ü", "a\\b"]
# Pieces that meet in every order: the grammar's difficulties are at their joints.
PIECES = st.sampled_from(
    ["a", "key", "edge.proxy.port", "k\\ y", "k\\=", "\\#k", "\\u00fc", "a\\\\b", "=", ":", " ", "\t", "\f", " = ", "\n", "\r", "\r\n"]
    + [
        "\\",
        "\\\n",
        "\\\r\n",
        "\\\r",
        "\\\\",
        "#",
        "!",
        "# key = x",
        "#a=\\",
        "  ",
        "value",
        "\\t",
        "\\n",
        "\\u",
        "\\u00e",
        "\\uD83D\\uDE00",
        "é",
        "\x85",
    ]
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=25).map("".join),
    st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from(["", " ", "# ", "#", "!"]),
                st.sampled_from(NAMES[:3]),
                st.sampled_from(["=", " = ", ":", " ", ""]),
                st.text(max_size=6),
            ),
            st.tuples(st.sampled_from(["", "# a comment", "\\", "x = 1 \\"])),
        ).map("".join),
        max_size=10,
    ).flatmap(lambda lines: st.sampled_from(["\n", "\r\n", "\r"]).map(lambda eol: eol.join(lines))),
)
VALUES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", " x", "x ", "=x", ":x", "#x", "\\", "a\\", "\\u0041", "a\nb", "\ud83d", "😀", "jdbc:mysql://h:3306/e?a=b"]),
)
EDITS = st.dictionaries(st.sampled_from(NAMES), st.one_of(st.none(), VALUES), min_size=1, max_size=3)


def second_judge(data: bytes, encoding: str) -> t.Optional[t.Dict[str, str]]:
    try:
        return javaproperties.loads(data.decode(encoding))
    except javaproperties.InvalidUEscapeError:
        return None


def check(java: Java, text: str, encoding: str, wanted: t.Dict[str, t.Optional[str]], uncomment: bool) -> None:
    data = text.encode(encoding, "replace")
    before = java.load(data, encoding)
    if before is None:
        with pytest.raises(_properties.PropertiesError, match="malformed"):
            _properties.Properties(data, "f", encoding)
        return
    properties = _properties.Properties(data, "f", encoding)
    assert properties.values() == before

    edit = _properties.edit(data, "f", wanted, encoding, uncomment)
    after = java.load(edit.content, encoding)
    assert after == {name: value for name, value in dict(before, **wanted).items() if value is not None}
    if second_judge(data, encoding) == before:
        assert second_judge(edit.content, encoding) == after
    assert edit.changed == [name for name, value in wanted.items() if before.get(name) != value]
    again = _properties.edit(edit.content, "f", wanted, encoding, uncomment)
    assert again.changed == [] and again.content == edit.content
    if not edit.changed:
        assert edit.content == data
    if len(edit.changed) == 1 and wanted[edit.changed[0]] is not None:
        untouched(properties, data.decode(encoding), edit.content.decode(encoding), edit.changed[0], uncomment)


def untouched(properties: _properties.Properties, old: str, new: str, name: str, uncomment: bool) -> None:
    """All bytes outside of one logical line, or of one comment, are as before."""
    entry = properties._effective(name)
    comment = properties._comment(name) if uncomment else None
    if entry is not None:
        assert new.startswith(old[: entry.value_start]) and new.endswith(old[entry.value_end :])
    elif comment is not None:
        assert new.startswith(old[: comment.start]) and new.endswith(old[comment.end :])
    else:
        # One line was inserted: without it the file is the same again, but for the end of a last line that had none.
        head = len(os.path.commonprefix([old, new]))
        tail = old[head:]
        assert new.endswith(tail) and len(new) > len(old)


SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@settings(max_examples=500, deadline=None, suppress_health_check=SLOW)
@given(text=TEXTS, wanted=EDITS, encoding=st.sampled_from(["iso-8859-1", "utf-8"]), uncomment=st.booleans())
def test_random_files(java, text, wanted, encoding, uncomment):
    check(java, text, encoding, wanted, uncomment)


@pytest.mark.long
@settings(max_examples=10000, deadline=None, suppress_health_check=SLOW)
@given(text=TEXTS, wanted=EDITS, encoding=st.sampled_from(["iso-8859-1", "utf-8"]), uncomment=st.booleans())
def test_very_many_random_files(java, text, wanted, encoding, uncomment):
    check(java, text, encoding, wanted, uncomment)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\\",
        "\\\n",
        "\\\r\n",
        "\\\r",
        "a\\",
        "a=b\\\n",
        "a=b\\\n  ",
        "a=b\\\n\nc=d",
        "\\\n# c\na=b",
        "\\\n\na=b",
        "\ufeffa=b",
        "a",
        "a\n",
        "=v",
        " : v",
    ],
)
@pytest.mark.parametrize("wanted", [{"a": "new"}, {"a": None}, {"n": "new"}])
def test_corners(java, text, wanted):
    check(java, text, "utf-8", wanted, True)


def test_the_judge_can_say_no(java):
    assert java.load(b"a=\\u12") is None
    assert java.load(b"a=1\na=2\n") == {"a": "2"}
    assert second_judge(b"a=\\u12", "utf-8") is None and second_judge(b"a=1\na=2\n", "utf-8") == {"a": "2"}
    assert java.load("ü=1".encode(), "utf-8") == {"ü": "1"} != java.load("ü=1".encode())
