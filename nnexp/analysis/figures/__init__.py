"""The figures of the report. Each function returns a Matplotlib `Figure`; `style` has what they share."""
