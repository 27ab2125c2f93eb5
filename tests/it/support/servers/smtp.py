"""A mail server that keeps what it gets: aiosmtpd, with a line of JSON for each mail in the file `mails`.

What stands in the file `answer` is what it says to the end of each mail; without one it takes all.
"""

import asyncio
import json
import pathlib
import sys

from aiosmtpd.smtp import SMTP

FOLDER = pathlib.Path(sys.argv[1])


class Keeper:
    async def handle_DATA(self, server, session, envelope):
        answer = FOLDER / "answer"
        if answer.exists() and answer.read_text().strip():
            return answer.read_text().strip()
        mail = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "text": envelope.content.decode("utf-8")}
        with open(FOLDER / "mails", "a", encoding="utf-8") as mails:
            mails.write(json.dumps(mail) + "\n")
        return "250 taken"


async def main():
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(Keeper(), enable_SMTPUTF8=True), "127.0.0.1", 0)
    print("listening on port", server.sockets[0].getsockname()[1], ".", flush=True)
    await server.serve_forever()


asyncio.run(main())
