"""Makes a day of exports harder to rank: many are equal but for their ids, and messages have others with their id."""

import json
import re
from datetime import datetime, timedelta
from pathlib import Path


def move_to_midnight(folder: Path) -> None:
    """Moves all that happened on a day to its midnight, so that many engagements weigh the same, or are the same."""
    for name in ["follow.csv", "reply.csv", "mention.csv", "like.csv", "st_messages.data"]:
        file = folder / name
        file.write_bytes(re.sub(rb"(\d{4}-\d\d-\d\d)[ T]\d\d:\d\d:\d\d", rb"\1 00:00:00", file.read_bytes()))


def write_few_scores(folder: Path, file: Path) -> None:
    """Gives scores to three users of four, and but eleven different ones."""
    users = sorted(set(map(int, re.findall(rb"^(\d{1,9}),", (folder / "user.csv").read_bytes(), re.MULTILINE))))
    rows = (f"{user},{user * 7919 % 11 / 10}\n" for user in users if user % 4 and user > 0)
    file.write_text("user_id,pred\n" + "".join(rows))


def repeat_messages(file: Path) -> None:
    """Adds to messages others with the same id, each of which comes before or after the first by another column."""
    lines = file.read_bytes().splitlines()
    for number, line in enumerate(lines[:700]):
        try:
            message = json.loads(line)
            later = datetime.fromisoformat(message["created_at"]) + timedelta(days=8)
        except (ValueError, KeyError, TypeError):
            continue
        changes = [
            {"user_id": 1},
            {"user_id": 2147483647},
            {"created_at": later.strftime("%Y-%m-%d %H:%M:%S")},
            {},
            {"body": "#"},
            # Cleaned, they come in the other order.
            {"body": "# ", "links": [{"description": "1 zebra"}]},
            {"body": "# ", "links": [{"description": "2 aardvark"}]},
        ]
        # The first of these that there is tells which message counts: each does for some.
        lines += [json.dumps(message | change).encode() for change in changes[number % len(changes) :]]
    file.write_bytes(b"\n".join(lines) + b"\n")
