"""What an account has to do to reach the weights a decision asks for."""
