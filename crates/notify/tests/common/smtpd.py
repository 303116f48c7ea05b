"""A mail server for tests: aiosmtpd, which writes each mail that it takes as JSON, parsed by Python's own reader of mails.

smtpd.py FOLDER plain|starttls|tls [CERTIFICATE KEY]; listens on SMTPD_PORT, or where there is room, and prints its port. A recipient `nobody@` is refused for good, `busy@` for now; `slow@` is answered never.
"""

import asyncio
import email
import email.policy
import json
import os
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

folder, mode = pathlib.Path(sys.argv[1]), sys.argv[2]
connections = 0
mails = 0


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such user\r\n"
        if address.startswith("busy@"):
            return "451 4.3.0 come back later"
        if address.startswith("slow@"):
            await asyncio.sleep(3600)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        global mails
        raw = envelope.original_content
        message = email.message_from_bytes(raw, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in message.walk() if not part.is_multipart()}
        login = session.auth_data
        seen = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": [[name, str(value)] for name, value in message.items()],
            "raw": raw.decode("latin-1"),
            "text": parts.get("text/plain"),
            "html": parts.get("text/html"),
            "login": login.decode() if login else None,
            "tls": session.ssl is not None or mode == "tls",
            "connections": connections,
        }
        (folder / f"{mails}.new").write_text(json.dumps(seen))
        (folder / f"{mails}.new").rename(folder / f"{mails}.json")
        mails += 1
        return "250 taken"


def login(server, session, envelope, mechanism, data):
    if data.login == b"ops" and data.password == b"correct horse":
        return AuthResult(success=True, auth_data=data.login)
    return AuthResult(success=False, handled=False)


def connection():
    global connections
    connections += 1
    settings = {} if mode == "plain" else {"auth_required": True, "auth_require_tls": mode == "starttls", "authenticator": login}
    if mode == "starttls":
        settings |= {"tls_context": context, "require_starttls": True}
    return SMTP(Handler(), hostname="localhost", **settings)


context = None
if mode != "plain":
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[3], sys.argv[4])


async def main():
    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", int(os.environ.get("SMTPD_PORT", "0")), ssl=context if mode == "tls" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
