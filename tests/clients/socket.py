"""What a program does with `websockets` for Python; says what came of it as one line of JSON."""

import asyncio
import json
import os
import urllib.request

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

BASE, KEY = os.environ["DOCENT_URL"], os.environ["DOCENT_KEY"]


def ticket():
    request = urllib.request.Request(f"{BASE}/v1/ws-tickets", method="POST", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["ticket"]


def opening(ticket):
    url = BASE.replace("http", "ws", 1) + "/ws/chat"
    return connect(url, subprotocols=["docent.v1", f"ticket.{ticket}"], proxy=None)


async def say(socket, **frame):
    await socket.send(json.dumps(frame))


async def hear(socket, *types):
    """The next frame of these types."""
    while True:
        frame = json.loads(await socket.recv())
        if frame["type"] in types:
            return frame


class Turn:
    """What was heard of a turn, on whatever connection."""

    def __init__(self, turn):
        self.turn, self.after, self.text, self.parts = turn, -1, "", []

    def take(self, frame):
        assert frame.get("first_offset", frame["offset"]) == self.after + 1, f"a gap, or twice: {frame}"
        part, self.after = frame["part"], frame["offset"]
        self.text += part.get("delta", "")
        self.parts.append(part["type"])


async def listen(socket, turns, until):
    """Until a part of one of the turns is so."""
    while True:
        frame = await hear(socket, "part")
        turn = turns[frame["turn_id"]]
        turn.take(frame)
        if until(turn, frame["part"]):
            return


async def main():
    used = ticket()
    async with opening(used) as socket:
        protocol, ready = socket.subprotocol, await hear(socket, "ready")
        await (await socket.ping())  # the protocol's own
        await say(socket, type="ping")
        pong = await hear(socket, "pong", "error")
        await say(socket, type="dance", request_id="r1")
        refused = await hear(socket, "error")
        await say(socket, type="send", request_id="q1", text="Count.")
        counting = Turn((await hear(socket, "accepted"))["turn_id"])
        await listen(socket, {counting.turn: counting}, lambda _, part: part.get("delta", "").endswith("w2 "))
    try:
        async with opening(used):
            again = 101
    except InvalidStatus as error:
        again = error.response.status_code
    async with opening(ticket()) as socket:
        await hear(socket, "ready")
        await say(socket, type="attach", turn_id=counting.turn, after=counting.after)
        await say(socket, type="send", request_id="q2", text="Count on.")
        stopped = Turn((await hear(socket, "accepted"))["turn_id"])
        turns = {turn.turn: turn for turn in (counting, stopped)}
        # The test lets the first one go on when both wait.
        waiting = lambda *_: counting.parts[-1] == "finish" and stopped.text.endswith("w2 ")
        await listen(socket, turns, waiting)
        await say(socket, type="stop", turn_id=stopped.turn)
        await listen(socket, turns, lambda turn, part: part["type"] == "abort")
    return {
        "protocol": protocol,
        "heartbeat": ready["heartbeat_ms"],
        "pong": pong["type"],
        "refused": [refused["request_id"], refused["problem"]["code"]],
        "again": again,
        "counted": counting.text,
        "stopped": [stopped.text, stopped.parts[-1]],
    }


print(json.dumps(asyncio.run(main())))
