"""A way to a meshed server: mutual TLS by OpenSSL, and the SPIFFE id of the server is checked.

gRPC's C core compares the name that is expected of a peer with DNS names only, and a certificate of the mesh has none; Python offers no
way to check anything else. So the channel is plaintext up to here. One thread does all of it, because a TLS session must not be read and
written by two at once.
"""
import asyncio
import os
import ssl
import threading


def way_to(address, directory, name):
    """A port of this machine; what is sent there arrives at `address`, if it is `name` that answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(os.path.join(directory, "roots.pem"))
    context.load_cert_chain(os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem"))
    context.set_alpn_protocols(["h2"])

    async def connect(near_reader, near_writer):
        far_reader, far_writer = await asyncio.open_connection(*address, ssl=context)
        far = far_writer.get_extra_info("ssl_object")
        if ("URI", name) not in far.getpeercert()["subjectAltName"] or far.selected_alpn_protocol() != "h2":
            near_writer.close()
            raise ssl.SSLError(f"not {name}: {far.getpeercert()}")
        await asyncio.gather(copy(near_reader, far_writer), copy(far_reader, near_writer))

    async def copy(source, sink):
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    listening = asyncio.run_coroutine_threadsafe(asyncio.start_server(connect, "127.0.0.1", 0), loop)
    return listening.result(20).sockets[0].getsockname()[1]
