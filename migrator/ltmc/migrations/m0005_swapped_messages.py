"""0005: messages whose first three values were stored in each other's columns are put right.

The HTTP server passed log_chat its arguments in the wrong order, so a row has the content for a conversation, the
conversation for a role and the role for a content.
"""

from migrator.migration import Change, Migration

# All of it holds for a row that was stored so: its content is a role to the letter, its role is none but one word, as
# a conversation's name is, its conversation is a sentence, and HTTP gave it nothing else. A message of one word cannot
# be told from a conversation's name and stays: better a row left as it is than a sound one spoilt.
_SPACES = "'*[ ' || char(9, 10, 11, 12, 13) || ']*'"
SWAPPED = f"""content IN ('user', 'assistant', 'system')
    AND role NOT IN ('user', 'assistant', 'system', 'tool', 'function', 'developer')
    AND conversation_id GLOB {_SPACES} AND role NOT GLOB {_SPACES}
    AND agent_name IS NULL AND metadata IS NULL AND source_tool IS NULL"""

MIGRATION = Migration(
    tools=("get_messages_for_chunk",),
    changes=(
        Change(
            "ChatHistory",
            where=SWAPPED,
            values={"conversation_id": "role", "role": "content", "content": "conversation_id"},
            identity=("timestamp",),
        ),
    ),
)
