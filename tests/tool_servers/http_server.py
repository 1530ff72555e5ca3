"""`python http_server.py PORT [FAULT[@SIDE]]`: the 28 tools as JSON-RPC at POST /jsonrpc, as the application has them.

Message ids are texts, log_chat takes three arguments and puts them into each other's columns, nothing is validated.
"""

import inspect
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import ltmc_tools
from faults import at_start, chosen, faulty
from ltmc_tools import TOOLS

FAULT = chosen(sys.argv[2:])
TEXTS = ("message_id",)
JSON_TYPES = {int: "integer", list[int]: "array", list[str]: "array", list[dict[str, Any]]: "array"}
JSON_TYPES |= {int | None: "integer", list[str] | None: "array"}


def log_chat(content: str, conversation_id: str, role: str = "user") -> dict[str, Any]:
    return STDIO_LOG_CHAT(content, conversation_id, role)


STDIO_LOG_CHAT = ltmc_tools.log_chat
TOOLS["log_chat"] = log_chat
at_start(FAULT)


def listed(name: str) -> dict[str, Any]:
    parameters = inspect.signature(TOOLS[name]).parameters.values()
    types = {p.name: "string" if p.name in TEXTS else JSON_TYPES.get(p.annotation, "string") for p in parameters}
    properties = {name: {"type": type_} for name, type_ in types.items()}
    required = [p.name for p in parameters if p.default is p.empty]
    schema = {"type": "object", "properties": properties, "required": required}
    hints = {"annotations": {"destructiveHint": True}} if name.startswith("forget") else {}
    return {"name": name, "description": name, "inputSchema": schema, **hints}


CALLED = {name: faulty(name, FAULT) for name in TOOLS}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    if method == "tools/list":
        return {"result": {"tools": [listed(name) for name in TOOLS]}}
    if method != "tools/call" or params["name"] not in CALLED:
        return {"error": {"code": -32601, "message": "Method not found"}}
    try:
        return {"result": CALLED[params["name"]](**params["arguments"])}
    except Exception as error:
        return {"error": {"code": -32603, "message": f"Tool execution error: {error}"}}


class Requests(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = {"jsonrpc": "2.0", "id": question["id"], **answer(question["method"], question["params"])}
        body = json.dumps(found).encode()
        self.send_response(200 if self.path == "/jsonrpc" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        print(format % args, file=sys.stderr, flush=True)


HTTPServer(("127.0.0.1", int(sys.argv[1])), Requests).serve_forever()
