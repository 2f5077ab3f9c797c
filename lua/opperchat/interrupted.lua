---The result of a call that nobody answered. Always the same, so that the
---provider's prompt cache stays good.
return "interrupted: this call was not run"
