"""What the domain needs from the world: one abstract class a file, named by its role."""
