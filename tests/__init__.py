"""Laws, by layer; each test's name states what must hold."""
