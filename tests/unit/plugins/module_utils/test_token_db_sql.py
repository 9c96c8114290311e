# Copyright (c) 2026, edge_encryption.clone contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SQL that reads, splits and checks tables, and the names of schemas."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.edge_encryption.clone.plugins.module_utils import _db, _privileges, _schema, _schema_journal, _stage
from ansible_collections.edge_encryption.clone.plugins.module_utils._errors import EdgeError
from ansible_collections.edge_encryption.clone.plugins.module_utils._schema import Column, Table

CREATE = """CREATE TABLE `t` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `a,b` varchar(9) DEFAULT 'KEY `x` (`y`)',
  `p` int(11) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `one` (`a,b`),
  KEY `back``tick` (`p`),
  FULLTEXT KEY `words` (`a,b`),
  CONSTRAINT `to parent` FOREIGN KEY (`p`, `id`) REFERENCES `parent` (`code`, `id`) ON DELETE CASCADE,
  CONSTRAINT `positive` CHECK (`id` > 0)
) ENGINE=InnoDB AUTO_INCREMENT=77 DEFAULT CHARSET=utf8mb4
 PARTITION BY HASH (`id`)"""


def table(create=CREATE, key="PRIMARY", key_columns=("id",), columns=()):
    return Table("t", create, list(columns), key, list(key_columns), 1, 1)


def test_names_are_quoted():
    assert _db.quote_name("a`b", "c") == "`a``b`.`c`"


def test_indexes_and_foreign_keys_are_taken_out_of_a_definition():
    bare, indexes, foreign = _schema.split_create(table())
    assert indexes == ["UNIQUE KEY `one` (`a,b`)", "KEY `back``tick` (`p`)", "FULLTEXT KEY `words` (`a,b`)"]
    assert foreign == ["CONSTRAINT `to parent` FOREIGN KEY (`p`, `id`) REFERENCES `parent` (`code`, `id`) ON DELETE CASCADE"]
    assert bare.split("\n")[-4:] == [
        "  PRIMARY KEY (`id`),",
        "  CONSTRAINT `positive` CHECK (`id` > 0)",
        ") ENGINE=InnoDB AUTO_INCREMENT=77 DEFAULT CHARSET=utf8mb4",
        " PARTITION BY HASH (`id`)",
    ]
    assert "DEFAULT 'KEY `x` (`y`)'" in bare
    assert _schema.foreign_keys(table()) == [("to parent", ["p", "id"], "parent", ["code", "id"])]
    assert _schema.index_names(CREATE) == ["one", "back``tick", "words"] and _schema.foreign_names(CREATE) == ["to parent"]
    assert _schema.create_statement("s", table()).startswith("CREATE TABLE `s`.`t` (\n")


def test_a_table_for_an_import_has_all_indexes_and_no_foreign_key():
    create = _schema.create_statement_with_indexes("s", table())
    assert create.startswith("CREATE TABLE `s`.`t` (\n") and _schema.index_names(create) == _schema.index_names(CREATE)
    assert _schema.foreign_names(create) == [] and create.endswith(CREATE[CREATE.index("\n)"):])
    assert ",\n)" not in create


def test_the_index_that_splits_or_counts_stays():
    create = CREATE.replace("  PRIMARY KEY (`id`),\n", "  KEY `counter` (`id`),\n")
    assert "UNIQUE KEY `one`" in _schema.split_create(table(create, key="one"))[0]
    assert "KEY `counter`" in _schema.split_create(table(create, key="one"))[0]


def test_the_counter_is_no_part_of_a_definition():
    assert _schema.without_counter(CREATE) == CREATE.replace(" AUTO_INCREMENT=77", "")
    assert _schema.without_counter(CREATE.replace("'KEY", "' AUTO_INCREMENT=3 KEY")).count("AUTO_INCREMENT=3") == 1
    behind = CREATE.replace("AUTO_INCREMENT=77", "AUTO_INCREMENT=76")
    assert _stage.missing_counter(behind, table()) == _stage.missing_counter(behind.replace(" AUTO_INCREMENT=76", ""), table()) == ["AUTO_INCREMENT = 77"]
    assert _stage.missing_counter(CREATE, table()) == _stage.missing_counter(CREATE, table(behind)) == []


def test_ranges_are_written_out_for_the_index():
    one, two = table(), table(key_columns=("a", "b"))
    assert _schema.key_range(one, None, None) == "TRUE"
    assert _schema.key_range(one, ["1"], ["5"]) == "((`id` > 1)) AND ((`id` <= 5))"
    assert _schema.key_range(two, ["1", "2"], None) == "((`a` > 1) OR (`a` = 1 AND `b` > 2)) AND `a` >= 1"
    assert _schema.key_range(two, None, ["3", "4"]) == "((`a` < 3) OR (`a` = 3 AND `b` <= 4)) AND `a` <= 3"


def test_equal_bounds_of_both_sides_are_not_confused():
    bound = ["1"]
    assert _schema.key_range(table(), bound, bound) == "((`id` > 1)) AND ((`id` <= 1))"


def test_key_literals_compare_like_the_index():
    columns = [Column("id", "int", "", "", False), Column("w", "varchar", "latin1", "latin1_bin", False), Column("d", "date", "", "", False)]
    columns.append(Column("b", "binary", "", "", False))
    found = _schema.key_literals(table(key_columns=("id", "w", "d", "b"), columns=columns), [b"2D37", b"27", b"323032302D30312D3031", b"00FF"])
    assert found == ["-7", "_latin1 X'27' COLLATE latin1_bin", "'2020-01-01'", "X'00FF'"]


def test_generated_columns_carry_no_values():
    columns = [Column("a", "int", "", "", False), Column("g", "int", "", "", True), Column("f", "float", "", "", False)]
    assert _schema.column_list(table(columns=columns)) == "`a`,`f`"
    assert _schema.row_text(table(columns=columns)) == "CONCAT('(',CONCAT_WS(',',QUOTE(CAST(`a` AS BINARY)),QUOTE(CAST(`f`*1e0 AS BINARY))),')')"


@pytest.mark.parametrize(
    "extra, generated",
    [("VIRTUAL GENERATED", True), ("STORED GENERATED", True), ("PERSISTENT", True), ("DEFAULT_GENERATED", False), ("AUTO_INCREMENT", False), ("", False)],
)
def test_generated_columns_are_told_from_generated_defaults(extra, generated):
    assert bool(_schema._GENERATED.search(extra)) is generated


def test_a_view_gets_another_home_and_no_definer():
    definition = "CREATE ALGORITHM=MERGE DEFINER=`gho``st`@`%` SQL SECURITY INVOKER VIEW `d`.`v` AS select 'DEFINER=`a`@`b` ' AS `x`"
    assert _schema.view_statement("s", "v", definition) == "CREATE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW `s`.`v` AS select 'DEFINER=`a`@`b` ' AS `x`"
    assert _schema.view_statement("s", "v", "CREATE VIEW `v` (`a`) AS select 1") == "CREATE VIEW `s`.`v` (`a`) AS select 1"


def quote(value):
    """Quote as the server's QUOTE does."""
    if value is None:
        return b"NULL"
    for old, new in ((b"\\", b"\\\\"), (b"'", b"\\'"), (b"\0", b"\\0"), (b"\x1a", b"\\Z")):
        value = value.replace(old, new)
    return b"'" + value + b"'"


cells = st.one_of(st.none(), st.binary(max_size=12), st.sampled_from([b"'),('", b"\\", b"\\'", b"NULL", b"\n"]))
values = st.lists(st.lists(cells, min_size=1, max_size=4), min_size=1, max_size=8)


@given(values, st.integers(60, 400))
def test_rows_are_split_where_they_end(rows, limit):
    texts = [b"(" + b",".join(quote(value) for value in row) + b")" for row in rows]
    parts = list(_stage.split_rows("t", b"\x1a".join(texts), max(limit, max(map(len, texts)))))  # pylint: disable=nested-min-max
    assert b",".join(parts) == b",".join(texts)
    assert all(len(part) <= max(limit, max(map(len, texts))) and part[:1] + part[-1:] == b"()" for part in parts)  # pylint: disable=nested-min-max


@given(values, values)
def test_different_rows_have_different_texts(one, other):
    texts = [[b",".join(quote(value) for value in row) for row in rows] for rows in (one, other)]
    assert (texts[0] == texts[1]) == (one == other)


def quoted(value):
    """Return what the server's QUOTE makes of bytes."""
    escapes = {b"\\": b"\\\\", b"'": b"\\'", b"\0": b"\\0", b"\x1a": b"\\Z"}
    return b"'" + b"".join(escapes.get(value[i : i + 1], value[i : i + 1]) for i in range(len(value))) + b"'"


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_the_key_of_a_row_is_read_from_its_text(one, other):
    columns = [Column(name, "varbinary", "", "", False) for name in ("a", "b", "c")] + [Column("d", "int", "", "", True)]
    text = b"(" + b",".join([quoted(one), b"NULL", quoted(other)]) + b")"
    assert _schema.key_in_text(table(columns=columns, key_columns=("c", "a")), text) == [other.hex(), one.hex()]
    assert _schema.key_in_text(table(columns=columns, key_columns=("d",)), text) is None


def test_a_row_that_fits_no_packet_is_an_error():
    with pytest.raises(EdgeError, match="max_allowed_packet"):
        list(_stage.split_rows("t", b"('aaaaaaaaaaaa')\x1a('b')", 10))


@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
def test_names_of_schemas_are_safe_bounded_and_one_a_run(one, other):
    names = [_schema_journal.previous_name("edgeencryption", run) for run in (one, other)]
    assert all(len(name) <= 64 and name.startswith("edgeencryption_prev_") and name.isascii() and name == name.lower() for name in names)
    assert (names[0] == names[1]) == (one == other)


def test_names_of_schemas_can_be_read():
    assert _schema_journal.stage_name("edgeencryption") == "edgeencryption_stage"
    assert _schema_journal.previous_name("edgeencryption", "c42") == "edgeencryption_prev_c42"
    assert _schema_journal.undone_name("edgeencryption", "acmetest/CLONE-1").startswith("edgeencryption_undone_acmetest_clone_1_")


def grants(*statements):
    return _privileges.Grants("u'x@%", statements)


def test_grants_on_patterns_databases_and_everything():
    found = grants(
        "GRANT PROCESS, RELOAD ON *.* TO `u`@`%` REQUIRE SSL",
        "GRANT SELECT, SHOW VIEW ON `edge\\_a`.* TO `u`@`%`",
        "GRANT ALL PRIVILEGES ON `edge\\_a\\_%`.* TO `u`@`%`",
        "GRANT INSERT ON `edge\\_a`.`t` TO `u`@`%`",
        "GRANT `role` TO `u`@`%`",
    )
    assert found.holds("PROCESS") and found.holds("RELOAD", "any") and not found.holds("SELECT")
    assert found.holds("SHOW VIEW", "edge_a") and not found.holds("SHOW VIEW", "edgexa") and not found.holds("INSERT", "edge_a")
    assert found.holds("DROP", "edge_a_stage") and not found.holds("DROP", "edge_ax")
    assert found.missing_on_source("edge_a") == ["GRANT TRIGGER ON `edge\\_a`.* TO 'u''x'@'%'"]
    assert grants("GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION").missing_on_target("a", ["a_b"]) == []


def test_names_are_literal_and_exceptions_count_with_partial_revokes():
    pattern = "GRANT ALL PRIVILEGES ON `a\\_%`.* TO `u`@`%`"
    found = _privileges.Grants("u@%", [pattern, "GRANT ALL PRIVILEGES ON `a`.* TO `u`@`%`", "GRANT PROCESS ON *.* TO `u`@`%`"], literal=True)
    assert found.holds("DROP", "a\\_%") and not found.holds("DROP", "a_stage") and not found.holds("DROP", "a_%")
    assert [line.split(" ON ")[1] for line in found.missing_on_target("a", ["a_stage", "a_prev"])] == ["`a_stage`.* TO 'u'@'%'", "`a_prev`.* TO 'u'@'%'"]
    found = _privileges.Grants("u@%", ["GRANT SELECT, DROP ON *.* TO `u`@`%`", "REVOKE DROP ON `a`.* FROM `u`@`%`"], literal=True)
    assert found.holds("SELECT", "a") and found.holds("DROP", "ab") and found.holds("DROP") and not found.holds("DROP", "a")
    found = _privileges.Grants("u@%", ["GRANT DROP ON *.* TO `u`@`%`", "GRANT DROP ON `a`.* TO `u`@`%`", "REVOKE DROP ON `a`.* FROM `u`@`%`"])
    assert found.holds("DROP", "a")


def test_only_messages_that_cannot_quote_a_row_are_shown():
    assert _db.describe(Exception(1045, "Access denied for user 'u'@'h'")) == (1045, "Access denied for user 'u'@'h' (1045)")
    assert _db.describe(Exception(1366, "Incorrect integer value: 'secret'"))[1] == "error 1366 TRUNCATED_WRONG_VALUE_FOR_FIELD"
    assert _db.describe(Exception("boom 'secret'")) == (0, "error 0")
