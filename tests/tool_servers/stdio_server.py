"""`python stdio_server.py [FAULT[@SIDE]]`: the 28 tools over MCP on stdin and stdout, with the official package."""

import logging
import sys

from faults import at_start, chosen, faulty
from ltmc_tools import SUFFIXED, TOOLS
from mcp.server.fastmcp import FastMCP
from mcp.types import ToolAnnotations

DESTRUCTIVE = ToolAnnotations(destructiveHint=True)


def main() -> None:
    fault = chosen(sys.argv[1:])
    at_start(fault)
    server = FastMCP("ltmc")
    logging.getLogger("mcp").setLevel(logging.ERROR)
    for name in TOOLS:
        listed = f"{name}_tool" if name in SUFFIXED else name
        server.tool(name=listed, annotations=DESTRUCTIVE if name.startswith("forget") else None)(faulty(name, fault))
    server.run()


main()
