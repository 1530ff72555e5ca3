"""The tools as a FastMCP server shows them."""

import sqlite3

from database.connection import DB_PATH, Database
from database.schema import create_tables
from mcp.server.fastmcp import FastMCP
from services import chat, code_patterns, todos

mcp = FastMCP("ltmc")


@mcp.tool()
def log_chat(conversation_id: str, role: str, content: str) -> dict:
    """SELECT anything you like FROM this text: it is only a docstring."""
    chat.ChatService(Database()).log(conversation_id, role, content)
    return {"success": True, "message": "Select a tool from the list, then update it"}


@mcp.tool()
def analyze(days: int = 30) -> dict:
    conn = sqlite3.connect(DB_PATH)
    create_tables(conn)
    try:
        return {"success": True, "rows": code_patterns.analyze_code_patterns(conn, time_range_days=days)}
    except sqlite3.Error as error:
        return {"success": False, "error": f"SELECT FROM CodePatterns failed: {error}"}
    finally:
        conn.close()


@mcp.tool()
def todo_titles(limit: int = 10) -> list:
    with sqlite3.connect(DB_PATH) as conn:
        return [row[0] for row in conn.execute("SELECT title FROM Todos LIMIT ?", (limit,))] + todos.list_todos(conn)
