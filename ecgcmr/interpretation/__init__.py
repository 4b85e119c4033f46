"""What a trained model learned: where it looks, what it retrieves, which directions mean what. No Lightning."""
