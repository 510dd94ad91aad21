#!/usr/bin/env python3
"""Prints who says what: reader.py HOST PORT. Believes nothing before its token comes back: anybody may say the rest."""
import json, secrets, socket, sys
token, is_real = secrets.token_hex(16), False
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as connection:
    connection.sendall(f"/view json\n/sync {token}\n".encode())
    for line in connection.makefile(encoding="utf-8"):
        if is_real and (said := json.loads(line))["type"] == "message":
            print(said["from"], said["text"], flush=True)
        is_real = is_real or token in line
