"""Makes the calls that its argument asks for, and prints how each ended."""
import json
import sys

import grpc

import mutual_tls
import shop

asked = json.loads(sys.argv[1])
port = mutual_tls.way_to(("127.0.0.1", asked["port"]), asked["directory"], asked["name"])
channel = grpc.insecure_channel(f"127.0.0.1:{port}")


def call(kind, items, timeout, metadata):
    path = shop.KINDS[kind]
    messages = [shop.item(sku) for sku in items]
    more = {"timeout": timeout, "metadata": [tuple(pair) for pair in metadata], "wait_for_ready": True}
    if kind in ("get", "take"):
        answer, ended = channel.unary_unary(path).with_call(messages[0], **more)
        return [answer], ended
    if kind == "upload":
        answer, ended = channel.stream_unary(path).with_call(iter(messages), **more)
        return [answer], ended
    ended = channel.unary_stream(path)(messages[0], **more) if kind == "watch" else channel.stream_stream(path)(iter(messages), **more)
    return list(ended), ended


results = []
for each in asked["calls"]:
    try:
        answers, ended = call(each["kind"], each["items"], each.get("timeout", 20), each.get("metadata", []))
    except grpc.RpcError as error:
        answers, ended = [], error
    results.append(
        {
            "code": ended.code().name,
            "details": ended.details(),
            "answers": [shop.sku(answer) for answer in answers],
            "trailers": {k: v for k, v in (ended.trailing_metadata() or ()) if isinstance(v, str)},
        }
    )
channel.close()
print(json.dumps(results))
