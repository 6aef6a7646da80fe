"""The solo engine, the packed one's plain twin by Trainer and PEFT; it never imports the packed engine."""
