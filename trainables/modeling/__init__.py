"""The frozen base with its adapters: layers, attention, loss, optimizers; it never imports decoding or a trial."""
