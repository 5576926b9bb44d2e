"""The world: each package fulfils ports of the domain with one technology; none knows another."""
