"""The objective: critics, estimators, priors, and the LightningModule that trains with them."""
