"""Every RPC with garbled requests, by seed: as messages, and as JSON through Envoy's transcoder (P11).

Nothing ends as a fault inside, whatever arrives, and the platform answers good calls afterwards. The decoders by
themselves are fuzzed in tests/fuzz.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import re
import zlib
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.api import annotations_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from stack import Stack
from tests.fuzz.mutations import fields_mutated, mutated, places
from tests.support.every_rpc import METHODS, REQUESTS, Request, World, open_world

TRIES = 4
OUTLANDISH = "卖𠀀"  # no column of ids can hold it, and MySQL refuses to compare with it
SERIAL = 7_700_000
# a garbled range may cover those of other tests; what it checks is fuzzed as the decoder `register`
LEFT_OUT = {"AddNumberRange"}
NAMES = sorted(REQUESTS.keys() - LEFT_OUT)
FAULTS = {"INTERNAL", "UNKNOWN", "UNIMPLEMENTED", "UNAVAILABLE", "DATA_LOSS", "DEADLINE_EXCEEDED"}
VARIABLE = re.compile(r"\{([a-z_]+)(?:=[^}]*)?\}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(running_stack: Stack) -> Any:
    async with grpc.aio.insecure_channel(f"{running_stack.envoy.host}:{running_stack.envoy.port}") as channel:
        yield await open_world(running_stack, channel, "garbled", SERIAL)


def outlandish(request: Message) -> Iterator[bytes]:
    """The request once for every text in it, with another text there."""
    for place, (_, field) in enumerate(places(request)):
        if field.type != FieldDescriptor.TYPE_STRING:
            continue
        changed = type(request)()
        changed.CopyFrom(request)
        owner, _ = [*places(changed)][place]
        if field.is_repeated:
            getattr(owner, field.name).append(OUTLANDISH)
        else:
            setattr(owner, field.name, OUTLANDISH)
        yield changed.SerializeToString()


async def code_of(world: World, method: MethodDescriptor, raw: bytes) -> str:
    """Sends bytes as a request; the code of the answer."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    channel: Any = world.channel
    more: dict[str, Any] = {"metadata": (("authorization", f"Bearer {world.secret}"),), "timeout": 30}
    try:
        if method.client_streaming:
            async for _ in channel.stream_stream(path)(iter([raw]), **more):
                pass
        elif method.server_streaming:
            call = channel.unary_stream(path)(raw, **more)
            try:
                await asyncio.wait_for(call.read(), 0.2)
            except TimeoutError:
                pass
            finally:
                call.cancel()
        else:
            await channel.unary_unary(path)(raw, **more)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


def asked_as_json(method: MethodDescriptor, request: Request) -> tuple[str, str, bytes] | None:
    """Verb, path and body of a lawful request; None when the method is not served as JSON."""
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    if verb is None or method.client_streaming or method.server_streaming:
        return None
    left = dict(request)

    def value(match: re.Match[str]) -> str:
        first, *rest = match[1].split("_")
        return str(left.pop(first + "".join(word.title() for word in rest), "x"))

    path = VARIABLE.sub(value, getattr(rule, verb))
    return verb.upper(), path, json.dumps(left).encode() if rule.body else b""


def send(stack: Stack, verb: str, path: str, body: bytes, secret: str) -> tuple[int, bytes]:
    """Makes a request to the edge."""
    connection = http.client.HTTPConnection(stack.envoy.host, stack.envoy.port, timeout=30)
    try:
        headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
        connection.request(verb, path, body or None, headers)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", NAMES)
async def test_no_garbled_request_is_a_fault_inside(running_stack: Stack, world: World, name: str) -> None:
    method = METHODS[name]
    kind = message_factory.GetMessageClass(method.input_type)
    request = await REQUESTS[name](world)
    good = ParseDict(request, kind()).SerializeToString()
    choice = random.Random(zlib.crc32(name.encode()))
    garbled = [*outlandish(ParseDict(request, kind()))]
    for number in range(TRIES):
        made = fields_mutated(good, kind, choice) if number % 2 else mutated([good], choice, bytes_max=4_096)
        garbled.append(made)
    for raw in garbled:
        assert await code_of(world, method, raw) not in FAULTS, raw
    asked = asked_as_json(method, request)
    if asked is None:
        return
    verb, path, body = asked
    for number in range(TRIES):
        sent = mutated([body], choice, bytes_max=4_096)
        status, answer = await asyncio.to_thread(send, running_stack, verb, path, sent, world.secret)
        assert status < 500, (number, sent, answer)
        assert isinstance(json.loads(answer), dict), (number, sent, answer)


@pytest.mark.asyncio(loop_scope="module")
async def test_good_calls_are_answered_afterwards(world: World) -> None:
    made = await world.call("IssueInvoice", world.invoice())
    check = {"check": {"number": made.issued.number, "issueDate": 20_260_101, "grossTotalMinor": "1"}}
    assert (await world.call("VerifyInvoice", check)).result.outcome
