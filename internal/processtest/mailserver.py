# A mail server for tests: aiosmtpd of Debian (python3-aiosmtpd). It wants a user and
# a password, and TLS before that. Each mail that it takes is a line of its output:
# "mail" and an object in JSON.
import argparse
import asyncio
import json
import ssl

from aiosmtpd.smtp import SMTP, AuthResult

options = argparse.ArgumentParser()
options.add_argument("--certificate", required=True)
options.add_argument("--key", required=True)
options.add_argument("--user", required=True)
options.add_argument("--password", required=True)
options.add_argument("--greylist", type=int, default=0, help="how many times a recipient is refused with 451")
options.add_argument("--drop", type=int, default=0, help="how many mails are taken and not confirmed: the connection is closed instead")
options = options.parse_args()

secured = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
secured.load_cert_chain(options.certificate, options.key)


def say(kind, value):
    print(kind, json.dumps(value), flush=True)


class Handler:
    refused = {}
    dropped = 0

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if self.refused.get(address, 0) < options.greylist:
            self.refused[address] = self.refused.get(address, 0) + 1
            say("greylisted", address)
            return "451 4.7.1 greylisted, try again later"
        if address.startswith("unknown@"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        say("mail", {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "text": envelope.original_content.decode("utf-8", "surrogateescape"),
            "tls": server.transport.get_extra_info("sslcontext") is not None,
            "user": session.auth_data.decode() if session.auth_data else "",
        })
        if self.dropped < options.drop:
            self.dropped += 1
            server.transport.abort()
        return "250 2.0.0 queued"


def authenticate(server, session, envelope, mechanism, data):
    good = data.login.decode() == options.user and data.password.decode() == options.password
    return AuthResult(success=good, handled=False, auth_data=data.login)


async def main():
    handler = Handler()
    loop = asyncio.get_running_loop()
    common = dict(hostname="mail.studio.test", authenticator=authenticate, auth_required=True)
    start = await loop.create_server(
        lambda: SMTP(handler, tls_context=secured, require_starttls=True, **common), "127.0.0.1", 0)
    implicit = await loop.create_server(
        lambda: SMTP(handler, auth_require_tls=False, **common), "127.0.0.1", 0, ssl=secured)
    say("listening", [s.sockets[0].getsockname()[1] for s in (start, implicit)])
    await asyncio.Event().wait()


asyncio.run(main())
