"""How weights are found: the step, the compiled epochs, the loop around them."""
