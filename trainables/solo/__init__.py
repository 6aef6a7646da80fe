"""The solo engine, the packed one's plain twin: a trial by HF Trainer and PEFT. It never imports the packed engine."""
