"""What this installation holds and can do: the configs that come with it, its packages, the machine."""
