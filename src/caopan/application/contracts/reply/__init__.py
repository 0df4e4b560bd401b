"""A model's reply as text: from its letters to one JSON object and the values of its fields."""
