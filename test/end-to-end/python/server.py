"""Serves the shop with a certificate of the mesh; tells each call on a line, and stops when a line tells it to, with its seconds of grace."""
import json
import sys
import threading
import time
from concurrent import futures

import grpc

import shop

asked = json.loads(sys.argv[1])
roots, key, cert = shop.identity(asked["directory"])
name, failing, work = asked["name"], asked.get("failing"), asked.get("work", 0)
lock = threading.Lock()


def tell(what):
    with lock:
        print(json.dumps(what), flush=True)


def arrive(kind, context):
    metadata = {k: v for k, v in context.invocation_metadata() if isinstance(v, str)}
    peers = [peer.decode() for peer in context.auth_context().get("x509_subject_alternative_name", [])]
    tell({"kind": kind, "remaining": context.time_remaining(), "metadata": metadata, "peers": peers})
    if failing:
        context.abort(grpc.StatusCode[failing], "failing on purpose")
    time.sleep(work)


def unary(kind):
    def handle(request, context):
        arrive(kind, context)
        return shop.stock(f"{name} {shop.sku(request)}", 7)

    return grpc.unary_unary_rpc_method_handler(handle)


def upload(requests, context):
    arrive("upload", context)
    return shop.stock(f"{name} " + "+".join(shop.sku(each) for each in requests), 7)


def watch(request, context):
    arrive("watch", context)
    for i in range(3):
        yield shop.stock(f"{name} {shop.sku(request)}{i}", i)


def chat(requests, context):
    arrive("chat", context)
    for each in requests:
        yield shop.stock(f"{name} {shop.sku(each)}", 7)


handlers = {
    "Get": unary("get"),
    "Take": unary("take"),
    "Upload": grpc.stream_unary_rpc_method_handler(upload),
    "Watch": grpc.unary_stream_rpc_method_handler(watch),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
}
server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Inventory", handlers),))
credentials = grpc.ssl_server_credentials([(key, cert)], roots, require_client_auth=True)
tell({"port": server.add_secure_port("127.0.0.1:0", credentials)})
server.start()
for line in sys.stdin:
    server.stop(float(line)).wait()
    tell({"stopped": True})
    break
