# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Order tokens: room, runs, exhaustion, both column types."""

import random

import pytest

from edgelab.proxy.ciphers import Ciphers
from edgelab.proxy.keystore import AesKey
from edgelab.proxy.tokens import TokenDatabase, TokenError
from edgelab.proxy_home import BOOTSTRAP_SQL

pytest_plugins = ("edgelab.proxy.testing",)


@pytest.fixture
def database(mariadb, authority, tmp_path):
    ciphers = Ciphers({"k": AesKey("k", b"0123456789abcdef", "File")}, b"0123456789abcdef")
    ciphers.defaults = {"128": "k"}
    arguments = mariadb.database()
    arguments["database"] = arguments.pop("name")
    bootstrap = tmp_path / "bootstrap.sql"
    bootstrap.write_text(BOOTSTRAP_SQL)
    tokens = TokenDatabase(dict(arguments, ssl={"ca": str(authority.ca)}), ciphers, bootstrap)
    tokens.identity()
    yield tokens
    tokens.close()


def ascending(prefix, count):
    return [f"{prefix}{number:05d}" for number in range(count)]


SHUFFLED = ascending("s", 400)
random.Random(7).shuffle(SHUFFLED)


@pytest.mark.long
@pytest.mark.parametrize(
    "values",
    [
        ascending("a", 300),
        ascending("a", 300)[::-1],
        ["z", "a", *ascending("m", 300)],
        ["z", "a", *ascending("m", 300)[::-1]],
        [value for pair in zip(ascending("a", 200), ascending("b", 200), ascending("c", 200)) for value in pair],
        SHUFFLED,
    ],
    ids=["ascending", "descending", "between", "between descending", "three runs", "shuffled"],
)
def test_order(database, values):
    tokens = {value: database.order_token("t.f", value, 128) for value in values}
    assert sorted(values) == sorted(values, key=tokens.get)
    assert len(set(tokens.values())) == len(values)
    assert all(database.order_token("t.f", value, 128) == token for value, token in list(tokens.items())[::37])


def test_exhaustion_is_an_error(database):
    next_one = int(database.order_token("t.f", "a", 128), 16) + 1
    top = database.order_token("t.f", "c", 128)
    squeeze = "UPDATE token_map SET order_token = %s WHERE order_token = %s"
    database._run(lambda cursor: cursor.execute(squeeze, (next_one.to_bytes(8, "big"), bytes.fromhex(top))))
    with pytest.raises(TokenError, match="No order token is left between two values of t.f"):
        database.order_token("t.f", "b", 128)
    assert database.order_token("t.f", "d", 128) > database.order_token("t.f", "c", 128), "elsewhere there is room"


def test_tokens_as_hex_text(database):
    database._run(
        lambda cursor: cursor.execute("ALTER TABLE token_map MODIFY order_token CHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL")
    )
    tokens = [database.order_token("t.f", value, 128) for value in "mcxat"]
    assert sorted("mcxat", key=dict(zip("mcxat", tokens)).get) == list("acmtx")
    assert database.order_bound("t.f", "n") == dict(zip("mcxat", tokens))["t"]


def test_order_cache(database):
    database.order_cache, database.order_cache_size = {}, 2
    tokens = {value: database.order_token("t.f", value, 128) for value in "abcabc"}
    assert sorted(tokens.values()) == list(tokens.values()) and len(database.order_cache) <= 2
    database._run(lambda cursor: cursor.execute("DELETE FROM token_map"))
    assert database.order_token("t.f", "c", 128) == tokens["c"], "what is cached is not looked up"


def test_fields_are_apart(database):
    assert database.order_token("t.f", "b", 128) == database.order_token("t.g", "a", 128)
    assert database.order_token("t.f", "unknown", 128, False) is None
