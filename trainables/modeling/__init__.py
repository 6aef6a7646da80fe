"""The frozen base and its adapters: layers, attention, loss, optimizers. It never decodes or writes a record."""
