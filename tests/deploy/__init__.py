"""What is in deploy/ is held to what the product is: checked by others' tools, and run as far as it can be here."""
