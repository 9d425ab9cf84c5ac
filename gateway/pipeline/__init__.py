"""From mail to verdict to action: the scanner shows the whole order, policy decides."""
