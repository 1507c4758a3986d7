"""The messages of shop.proto and the files of an identity, without any generated code."""
import os


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def text(field, value):
    data = value.encode()
    return varint(field << 3 | 2) + varint(len(data)) + data if data else b""


def item(sku):
    return text(1, sku)


def stock(sku, left):
    return text(1, sku) + (varint(2 << 3) + varint(left) if left else b"")


def fields(data):
    """By number; the last one of each counts."""
    found, at = {}, 0

    def number():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            found[key >> 3] = number()
        elif key & 7 == 2:
            length = number()
            found[key >> 3] = data[at : at + length]
            at += length
        else:
            raise ValueError(f"no field of shop.proto: {key}")
    return found


def sku(data):
    return fields(data).get(1, b"").decode()


def identity(directory):
    def read(name):
        with open(os.path.join(directory, name), "rb") as file:
            return file.read()

    return read("roots.pem"), read("key.pem"), read("cert.pem")


KINDS = {
    "get": "/shop.Inventory/Get",
    "take": "/shop.Inventory/Take",
    "upload": "/shop.Inventory/Upload",
    "watch": "/shop.Inventory/Watch",
    "chat": "/shop.Inventory/Chat",
}
