"""One page that shows what a model does: figures, curves, errors, and the pictures behind them."""
