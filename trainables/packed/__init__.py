"""The packed engine: many adapters train and write texts over one frozen base; it never imports the solo engine."""
