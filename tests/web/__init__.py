"""Laws of the wire: codec, socket, REST."""
