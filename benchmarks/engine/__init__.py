"""The engine against what people write today: data, contenders, and what is told of them."""
