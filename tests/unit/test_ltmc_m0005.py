"""0005 on ChatHistory: every row that was stored swapped is found, no other, and each gets its original back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.ltmc import LTMC
from migrator.ltmc.demo import AWKWARD_MESSAGES
from migrator.ltmc.probes.tables import CHAT_HISTORY
from tests.unit.ltmc_databases import REAL, at_version, call, failures
from tests.unit.migrating import back, database, everything, forward, plan_for, promote, rehearse, tables

M0005 = LTMC.migrations[4]
INSERT = (
    "INSERT INTO ChatHistory (conversation_id, role, content, timestamp, agent_name, metadata, source_tool) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
MESSAGES = "SELECT conversation_id, role, content FROM ChatHistory ORDER BY id"


def chat(*messages):
    """A table with messages of three values, or of six where a program gave more."""
    connection = database(f"CREATE TABLE {CHAT_HISTORY}")
    for n, (conversation, role, content, *more) in enumerate(messages):
        connection.execute(INSERT, (conversation, role, content, f"2025-{n}", *(more or (None, None, None))))
    return connection


def swapped(conversation, role, content):
    """As the HTTP server stored a message."""
    return content, conversation, role


SWAPPED = {
    "a sentence": ("session_1", "user", "What is stored?"),
    "an answer": ("0b5d-4c5c", "assistant", "Nothing yet."),
    "a system message": ("default", "system", "You are\\nhelpful."),
    "lines": ("s", "user", "two\nlines"),
    "a tab": ("s", "user", "a\tb"),
    "a return": ("s", "user", "a\rb"),
    "a vertical tab": ("s", "user", "a\vb"),
    "a new page": ("s", "user", "a\fb"),
    "no ASCII": ("größe", "user", "Überprüfe die Größe 🚀"),
    "quotes": ("it's", "user", 'it\'s "quoted"; DROP TABLE x'),
    "content that is a role and more": ("s", "assistant", "user assistant"),
    "a conversation that is nearly a role": ("users", "user", "Who am I?"),
    "a space only": ("s", "user", " "),
}
SOUND = {
    "ordinary": ("session_1", "user", "What is stored?"),
    "content is a role": ("session_1", "user", "assistant"),
    "content is its own role": ("session_1", "user", "user"),
    "a conversation with a space": ("my session", "assistant", "user"),
    "another role": ("my session", "tool", "user"),
    "yet another role": ("my session", "developer", "system"),
    "the role of a function": ("my session", "function", "user"),
    "a role of its own": ("session_1", "reviewer", "assistant"),
    "a role of two words": ("my session", "senior reviewer", "assistant"),
    "a role with more around it": ("my session", "reviewer", "user "),
    "a role in capitals": ("my session", "reviewer", "User"),
    "a role as a blob": ("my session", "reviewer", b"user"),
    "with an agent": ("my session", "reviewer", "user", "agent", None, None),
    "with metadata": ("my session", "reviewer", "user", None, "{}", None),
    "from a program": ("my session", "reviewer", "user", None, None, "cursor"),
    "nothing": ("", "", ""),
    # Nobody can tell: left as it is.
    "swapped, of one word": swapped("session_1", "user", "ping"),
}


@pytest.mark.parametrize("carry_out", [promote, rehearse])
@pytest.mark.parametrize("message", SWAPPED.values(), ids=SWAPPED)
def test_a_swapped_message_is_put_right_and_goes_back(carry_out, message):
    connection = chat(swapped(*message), SOUND["ordinary"])
    before = everything(connection)
    carry_out(connection, plan_for(connection, [M0005]))
    assert connection.execute(MESSAGES).fetchall() == [message, SOUND["ordinary"]]
    assert connection.execute("SELECT id, conversation_id, role, content FROM ChatHistory_legacy").fetchall() == [
        (1, *swapped(*message))
    ]
    carry_out(connection, plan_for(connection, [M0005], reverse=True))
    assert everything(connection) == before


def test_no_message_that_was_stored_right_is_touched():
    connection = chat(*SOUND.values())
    before = everything(connection)
    forward(connection, M0005)
    assert everything(connection) == before
    assert tables(connection) == {"ChatHistory"}


ROLES = st.sampled_from(["user", "assistant", "system", "tool", "function", "developer"])
# Half a character (a lone surrogate) cannot be stored.
CHARACTERS = st.characters(codec="utf-8")
WORDS = st.one_of(st.text(CHARACTERS, max_size=12), st.sampled_from(["user", "assistant", "system", "a b", "s_1"]))


@given(WORDS, ROLES, WORDS)
def test_whatever_is_said_in_a_known_role_is_left_alone(conversation, role, content):
    connection = chat((conversation, role, content))
    forward(connection, M0005)
    assert connection.execute(MESSAGES).fetchall() == [(conversation, role, content)]


@given(
    st.from_regex(r"[a-z]+[0-9_:.\-]+", fullmatch=True),
    st.sampled_from(["user", "assistant", "system"]),
    st.text(CHARACTERS.filter(lambda c: c != "\x00"), max_size=12).map(lambda text: f"{text} {text}"),
)
def test_whatever_of_several_words_was_stored_swapped_is_found(conversation, role, content):
    connection = chat(swapped(conversation, role, content))
    forward(connection, M0005)
    assert connection.execute(MESSAGES).fetchall() == [(conversation, role, content)]


def test_a_message_written_since_that_looks_swapped_is_left_alone_by_the_next_way_forth():
    connection = chat(swapped("s", "user", "Put right."))
    forward(connection, M0005)
    connection.execute(INSERT, ("a role play", "reviewer", "user", "2026", None, None, None))
    new = everything(connection, M0005.own_tables)
    back(connection, M0005)
    forward(connection, M0005)
    assert everything(connection, M0005.own_tables) == new


def test_another_message_that_gets_the_id_of_a_repaired_one_gets_nothing_of_it():
    connection = chat(swapped("s", "user", "Put right."))
    forward(connection, M0005)
    connection.execute("UPDATE ChatHistory SET conversation_id = 't', content = 'Another.', timestamp = '2026'")
    back(connection, M0005)
    assert connection.execute(MESSAGES).fetchall() == [("t", "user", "Another.")]


def test_a_message_that_was_edited_after_its_repair_keeps_the_edit():
    connection = chat(swapped("s", "user", "Put right."))
    forward(connection, M0005)
    connection.execute("UPDATE ChatHistory SET content = 'Edited.'")
    back(connection, M0005)
    # Each column gets its original back where it holds what the repair put there, and no other.
    assert connection.execute(MESSAGES).fetchall() == [("Put right.", "s", "Edited.")]


def test_the_awkward_messages_of_the_demo_stay_and_the_swapped_ones_are_all_found():
    connection = at_version(4)
    before = connection.execute(MESSAGES).fetchall()
    forward(connection, M0005)
    after = connection.execute(MESSAGES).fetchall()
    assert [n for n, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]] == [74]
    assert {n: after[n] for n in AWKWARD_MESSAGES} == AWKWARD_MESSAGES
    assert failures(connection, version=5) == {}


def test_the_answer_about_linked_messages_is_what_changes():
    connection = at_version(4)
    connection.execute("INSERT INTO ContextLinks (message_id, chunk_id) VALUES (75, 1)")
    before = call(connection, "get_messages_for_chunk", version=4)
    forward(connection, M0005)
    assert call(connection, "get_messages_for_chunk", version=5) != before
    assert M0005.tools == ("get_messages_for_chunk",)


@pytest.mark.skipif(not REAL.exists(), reason="the real database is not beside the checkout")
def test_of_the_real_messages_the_ten_swapped_ones_are_found_and_no_other():
    connection = at_version(4, REAL.read_bytes())
    before = everything(connection)
    forward(connection, M0005)
    assert connection.execute("SELECT id FROM ChatHistory_legacy").fetchall() == [
        (44,), (75,), (243,), (247,), (280,), (418,), (432,), (448,), (585,), (629,)
    ]  # fmt: skip
    assert connection.execute("SELECT DISTINCT role FROM ChatHistory ORDER BY 1").fetchall() == [
        ("assistant",),
        ("user",),
    ]
    assert connection.execute(f"{MESSAGES.replace('ORDER', 'WHERE id = 247 ORDER')}").fetchone() == (
        "integration_test_chat", "assistant", "Integration test chat log at 1754702745.0046842"
    )  # fmt: skip
    back(connection, M0005)
    assert everything(connection) == before
