"""The packed engine: many adapters train and decode over one frozen base. It never imports the solo engine."""
